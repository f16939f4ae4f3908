"""Data: PASCAL VOC folders, generated shapes, resizing and mirroring, loading ahead of time."""

from __future__ import annotations

from minirpn.data.annotation import read_annotation, write_annotation
from minirpn.data.augment import AS_IS, Augmentation, AugmentConfig, recolour
from minirpn.data.check import check_dataset
from minirpn.data.check_report import CheckReport
from minirpn.data.classes import VOC_CLASSES
from minirpn.data.findings import Finding, Kind, Severity
from minirpn.data.images import read_image, read_image_size
from minirpn.data.loader import Draw, Loader, training_order
from minirpn.data.objects import VOCObject
from minirpn.data.samples import Annotation, Dataset, Example, Sample
from minirpn.data.shapes import SHAPES
from minirpn.data.synthetic import SyntheticConfig, generate
from minirpn.data.transforms import (
    ResizeConfig,
    flip_image,
    prepare,
    resize,
    resize_scale,
    resized_size,
)
from minirpn.data.voc import VOCDataset, half_open, read_ground_truth, voc_corners

__all__ = [
    "AS_IS",
    "SHAPES",
    "VOC_CLASSES",
    "Annotation",
    "AugmentConfig",
    "Augmentation",
    "CheckReport",
    "Dataset",
    "Draw",
    "Example",
    "Finding",
    "Kind",
    "Loader",
    "ResizeConfig",
    "Sample",
    "Severity",
    "SyntheticConfig",
    "VOCDataset",
    "VOCObject",
    "check_dataset",
    "flip_image",
    "generate",
    "half_open",
    "prepare",
    "read_annotation",
    "read_ground_truth",
    "read_image",
    "read_image_size",
    "recolour",
    "resize",
    "resize_scale",
    "resized_size",
    "training_order",
    "voc_corners",
    "write_annotation",
]
