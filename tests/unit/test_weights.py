"""Weights files: whose names they use, what fits, and that a bad file changes nothing."""

import io
import zipfile

import numpy as np
import pytest

from minirpn.backbones import build_backbone
from minirpn.errors import InputError
from minirpn.weights import load_weights, read_npz
from minirpn.weights.names import caffe_name


@pytest.fixture
def parameters(rng):
    return build_backbone("squeezenet", rng=rng).parameters()


def arrays_for(parameters, naming, rng):
    return {
        naming(parameter.name): rng.normal(size=parameter.value.shape).astype(np.float32)
        for parameter in parameters
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("conv1.weight", "conv1_w"),
        ("fire2.squeeze.bias", "fire2_squeeze1x1_b"),
        ("fire9.expand3x3.weight", "fire9_expand3x3_w"),
    ],
)
def test_names_in_caffe(ours, theirs):
    assert caffe_name(ours) == theirs


@pytest.mark.parametrize(("label", "naming"), [("caffe", caffe_name), ("minirpn", str)])
def test_every_parameter_gets_its_array(parameters, tmp_path, rng, label, naming):
    arrays = arrays_for(parameters, naming, rng)
    extra = {"conv10_w": np.zeros(3, np.float32)}
    np.savez(tmp_path / "w.npz", **arrays, **extra)
    report = load_weights(parameters, tmp_path / "w.npz")
    assert (report.naming, report.unused) == (label, ("conv10_w",))
    assert len(report.matched) == len(parameters)
    assert "unused: conv10_w" in report.summary()
    for parameter in parameters:
        np.testing.assert_array_equal(parameter.value, arrays[naming(parameter.name)])


def refused(parameters, path, match):
    before = [parameter.value.copy() for parameter in parameters]
    with pytest.raises(InputError, match=match) as error:
        load_weights(parameters, path)
    assert "\n" not in str(error.value)
    for parameter, value in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_weights_of_another_network_change_nothing(parameters, tmp_path, rng):
    tiny = build_backbone("tiny", rng=rng).parameters()
    np.savez(tmp_path / "tiny.npz", **arrays_for(tiny, str, rng))
    refused(parameters, tmp_path / "tiny.npz", r"tiny.npz: not weights of this network: 48 of 50")


def test_a_wrong_shape_changes_nothing(parameters, tmp_path, rng):
    arrays = arrays_for(parameters, caffe_name, rng)
    arrays["conv1_w"] = arrays["conv1_w"][:, :2]
    np.savez(tmp_path / "w.npz", **arrays)
    refused(
        parameters, tmp_path / "w.npz", r"conv1.weight \(64, 2, 3, 3\), expected \(64, 3, 3, 3\)"
    )


def test_numbers_that_are_not_finite_change_nothing(parameters, tmp_path, rng):
    arrays = arrays_for(parameters, caffe_name, rng)
    arrays["fire9_expand3x3_b"][7] = np.nan
    np.savez(tmp_path / "w.npz", **arrays)
    refused(parameters, tmp_path / "w.npz", r"fire9.expand3x3.bias: holds values that are not")


def damaged(tmp_path, name, edit):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(1000.0))
    content = bytearray(buffer.getvalue())
    (tmp_path / name).write_bytes(edit(content))
    return tmp_path / name


def flip_a_byte(content):
    content[400] ^= 1
    return content


def pickled():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{"a": 1}], dtype=object))
    return buffer.getvalue()


def lying_header():
    """Return an archive whose array claims to be far larger than it is."""
    buffer = io.BytesIO()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + b"\x76\x00" + header)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: b"",
        lambda content: b"not an archive",
        lambda content: content[:-100],
        lambda content: content[:300],
        flip_a_byte,
        lambda content: pickled(),
        lambda content: lying_header(),
    ],
    ids=["empty", "text", "cut at the end", "cut", "flipped byte", "pickle", "lying header"],
)
def test_broken_files_are_named_in_one_line(tmp_path, edit):
    path = damaged(tmp_path, "broken.npz", edit)
    with pytest.raises(InputError, match=r"broken.npz: not a whole weights file") as error:
        read_npz(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such weights file"):
        read_npz(tmp_path / "none.npz")


def test_the_real_squeezenet_fits(shared, parameters):
    report = load_weights(parameters, shared / "weights" / "squeezenet_v1_1.npz")
    assert report.naming == "caffe"
    assert report.unused == ("conv10_b", "conv10_w")
