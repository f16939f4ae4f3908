"""Under which names other programs keep the parameters of a network."""

from __future__ import annotations

# SqueezeNet in Caffe: "fire2/squeeze1x1", blobs w and b.
_CAFFE_PARTS = {"squeeze": "squeeze1x1", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}
_CAFFE_KINDS = {"weight": "w", "bias": "b"}


def own_name(name: str) -> str:
    """Return the name under which minirpn itself saves a parameter."""
    return name


def caffe_name(name: str) -> str:
    """Return the Caffe name of a parameter: ``fire2.squeeze.bias`` -> ``fire2_squeeze1x1_b``."""
    *parts, kind = name.split(".")
    return "_".join([*(_CAFFE_PARTS.get(part, part) for part in parts), _CAFFE_KINDS[kind]])


# Naming -> what it calls a parameter of ours.
NAMINGS = {"minirpn": own_name, "caffe": caffe_name}
