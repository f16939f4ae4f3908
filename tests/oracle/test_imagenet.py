"""SqueezeNet with its real weights knows what is in photographs.

The images are the three of each class in the subset's test split whose only object is the largest.
"""

import numpy as np
import pytest
from PIL import Image

from minirpn import nn
from minirpn.backbones import build_backbone
from minirpn.weights import load_weights, read_weights

# Numbers of ImageNet's classes.
GROUPS = {
    "car": {407, 436, 468, 479, 511, 581, 609, 627, 656, 661, 717, 751, 817},
    "bus": {654, 779, 874},
    "cat": {281, 282, 283, 284, 285},
    "train": {466, 547, 565, 705, 820, 829},
}
IMAGES = {
    "car": ["003718", "004596", "006246"],
    "bus": ["003864", "004924", "000195"],
    "cat": ["005155", "002106", "000442"],
    "train": ["003474", "002080", "003457"],
}


@pytest.fixture
def classify(shared):
    """Return the five most probable classes of an image file, and their probabilities."""
    path = shared / "weights" / "squeezenet_v1_1.npz"
    backbone = build_backbone("squeezenet", rng=None)
    report = load_weights("squeezenet", backbone.parameters(), path)
    arrays = read_weights(path).arrays

    def top5(image):
        pixels = np.asarray(Image.open(image).convert("RGB").resize((227, 227), Image.BILINEAR))
        features, _ = backbone.forward(report.preprocessing(pixels)[None])
        maps, _ = nn.conv2d_forward(features, arrays["conv10_w"], arrays["conv10_b"])
        scores = np.mean(np.maximum(maps, 0), axis=(0, 2, 3))
        probabilities = np.exp(scores - np.max(scores))
        probabilities /= np.sum(probabilities)
        best = np.argsort(-probabilities)[:5]
        return best.tolist(), probabilities[best].tolist()

    return top5


def test_the_right_group_is_in_the_top_five_of_most(classify, shared):
    folder = shared / "data" / "voc2007-subset" / "VOCdevkit" / "VOC2007" / "JPEGImages"
    right = [
        image
        for group, images in IMAGES.items()
        for image in images
        if GROUPS[group] & set(classify(folder / f"{image}.jpg")[0])
    ]
    # 11 of 12: a train on a viaduct (003474) is taken for the viaduct.
    assert len(right) >= 10, right
