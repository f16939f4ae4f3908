"""Data: PASCAL VOC folders, generated shapes, resizing and mirroring, loading ahead of time."""

from __future__ import annotations

from minirpn.data.annotation import VOCObject, read_annotation, write_annotation
from minirpn.data.augment import AS_IS, Augmentation, AugmentConfig, recolour
from minirpn.data.box_format import half_open, likely_format, voc_corners
from minirpn.data.check import CheckReport, check_dataset
from minirpn.data.findings import Finding, Kind, Severity
from minirpn.data.images import read_image
from minirpn.data.layout import Source
from minirpn.data.loader import Draw, Loader, training_order
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
from minirpn.data.voc import VOC_CLASSES, VOCDataset, read_ground_truth

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
    "Source",
    "SyntheticConfig",
    "VOCDataset",
    "VOCObject",
    "check_dataset",
    "flip_image",
    "generate",
    "half_open",
    "likely_format",
    "prepare",
    "read_annotation",
    "read_ground_truth",
    "read_image",
    "recolour",
    "resize",
    "resize_scale",
    "resized_size",
    "training_order",
    "voc_corners",
    "write_annotation",
]
