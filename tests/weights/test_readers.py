"""Every kind of file gives back the very numbers that another library wrote into it."""

import io
import struct

import h5py
import numpy as np
import pytest
import safetensors.numpy

from docs.extensions.pages import ROOT, blocks
from minirpn.backbones import CAFFE_BGR, build_backbone
from minirpn.errors import InputError
from minirpn.weights import load_weights
from minirpn.weights.files import read_weights


def assert_equal(actual, expected):
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


def test_the_kind_is_known_by_content_not_by_name(kind, writers, arrays, tmp_path):
    path = tmp_path / "weights.dat"
    path.write_bytes(writers[kind](arrays))
    file = read_weights(path)
    assert file.kind == kind
    assert_equal(file.arrays, arrays)
    assert len(file.sha256) == 64
    assert file.metadata == {}


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("kind", ["npz", "PyTorch", "PyTorch (legacy)", "safetensors", "Keras"])
def test_other_precisions(kind, dtype, writers, arrays, parse):
    typed = {name: array.astype(dtype) for name, array in arrays.items()}
    assert_equal(parse(writers[kind](typed))[1], typed)


def test_caffe_in_double_precision(writers, arrays, parse):
    typed = {name: array.astype(np.float64) for name, array in arrays.items()}
    assert_equal(parse(writers["caffemodel"](typed))[1], typed)


def test_caffe_v1_has_four_sides_for_everything(writers, arrays, parse):
    label, read = parse(writers["caffemodel"](arrays, generation=1))
    assert label == "caffemodel"
    assert_equal(read, arrays)


def bfloat16(array):
    """Return the bytes of an array cut to bfloat16, and the array that they are."""
    upper = (array.view(np.uint32) >> 16).astype(np.uint16)
    return upper.tobytes(), (upper.astype(np.uint32) << 16).view(np.float32)


def test_bfloat16_in_safetensors(rng, parse):
    raw, expected = bfloat16(rng.normal(size=(3, 4)).astype(np.float32))
    header = b'{"a": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, 24]}}'
    data = struct.pack("<Q", len(header)) + header + raw
    assert_equal(parse(data)[1], {"a": expected})


@pytest.mark.parametrize("kind", ["PyTorch", "PyTorch (legacy)"])
def test_bfloat16_in_pytorch(kind, writers, rng, parse):
    raw, expected = bfloat16(rng.normal(size=(3, 4)).astype(np.float32))
    halves = np.frombuffer(raw, np.float16).reshape(3, 4)  # of the same size
    data = writers[kind]({"a": halves}, kind="BFloat16Storage")
    assert_equal(parse(data)[1], {"a": expected})


@pytest.mark.parametrize("kind", ["PyTorch", "PyTorch (legacy)"])
def test_windows_into_a_storage(kind, writers, parse):
    whole = np.arange(12, dtype=np.float32)
    data = writers[kind]({"a": whole}, offset=1, shape=(2, 3), strides=(1, 4))
    assert_equal(parse(data)[1], {"a": whole[[[1, 5, 9], [2, 6, 10]]]})


def test_nested_dictionaries_join_their_names(writers, arrays, parse):
    inner = writers["PyTorch"](arrays)
    start = inner.index(b"\x80\x02")
    described = inner[start : inner.index(b"u.", start) + 2]
    name = b"X\x0a\x00\x00\x00state_dict"
    nested = b"\x80\x02}(" + name + described[2:-1] + b"X\x05\x00\x00\x00epochK\x07u."
    data = writers["PyTorch"](arrays, described=nested)
    expected = {f"state_dict.{name}": array for name, array in arrays.items()}
    assert_equal(parse(data)[1], expected)


def test_dictionaries_as_python_2_has_pickled_them(writers, arrays, parse):
    """torchvision's oldest files are of it: pairs in a list, names in bytes."""
    container = writers["PyTorch (legacy)"](arrays)
    start = container.index(b"ccollections") - 2
    described = container[start : container.index(b"u.", start) + 2]
    pairs = described.removeprefix(b"\x80\x02ccollections\nOrderedDict\n)R(").removesuffix(b"u.")
    for name in arrays:
        word = b"X" + struct.pack("<I", len(name)) + name.encode()
        pairs = pairs.replace(word, b"e](U" + bytes([len(name)]) + name.encode(), 1)
    program = b"\x80\x02ccollections\nOrderedDict\n](" + pairs.removeprefix(b"e") + b"ee\x85R."
    data = writers["PyTorch (legacy)"](arrays, described=program)
    assert_equal(parse(data)[1], arrays)


def test_keras_of_a_whole_model_and_of_keras_1(writers, arrays, parse):
    whole = writers["Keras"](arrays, root="model_weights/")
    assert_equal(parse(whole)[1], arrays)
    assert_equal(parse(writers["Keras"](arrays, old=True))[1], arrays)


@pytest.mark.parametrize("root", ["layers/", "_layer_checkpoint_dependencies\\"])
def test_keras_3_and_keras_2_on_windows(root, keras_3_writer, arrays, parse):
    assert_equal(parse(keras_3_writer(arrays, root=root))[1], arrays)


def test_keras_3_with_a_model_in_the_model(keras_3_writer, arrays, parse):
    data = keras_3_writer(arrays, root="layers/functional/layers/")
    inside = {f"functional/layers/{name}": array for name, array in arrays.items()}
    assert_equal(parse(data)[1], inside)


def test_numbers_in_keras_names_count(keras_3_writer, parse):
    layers = ["conv2d", *(f"conv2d_{number}" for number in range(1, 12)), "dense"]
    arrays = {f"{layer}.weight": np.zeros((1, 1, 1, 1), np.float32) for layer in layers}
    shuffled = dict(sorted(arrays.items(), reverse=True))
    assert list(parse(keras_3_writer(shuffled))[1]) == list(arrays)


def test_keras_3_keeps_what_is_neither_kernel_nor_bias(keras_3_writer, arrays, parse):
    """A batch normalization has four arrays of one side; the optimizer's are no weights."""
    buffer = io.BytesIO(keras_3_writer(arrays))
    with h5py.File(buffer, "a") as file:
        for number in range(4):
            file[f"layers/batch_normalization/vars/{number}"] = np.full(3, number, np.float32)
        file["optimizer/vars/0"] = np.zeros(3, np.float32)
    others = {
        f"batch_normalization/vars/{number}": np.full(3, number, np.float32) for number in range(4)
    }
    assert_equal(parse(buffer.getvalue())[1], arrays | others)


def test_a_keras_3_file_fills_a_network(tmp_path, rng, keras_3_writer):
    parameters = build_backbone("tiny", rng=rng).parameters()
    values = {parameter.name: parameter.value for parameter in parameters}
    layers = ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4")
    names = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    path = tmp_path / "my.weights.h5"
    path.write_bytes(keras_3_writer(dict(zip(names, values.values(), strict=True))))
    empty = build_backbone("tiny", rng=None).parameters()
    report = load_weights("tiny", empty, path, preprocessing=CAFFE_BGR)
    assert report.lines()[0] == "10 arrays loaded (Keras, numbered names)"
    for parameter in empty:
        np.testing.assert_array_equal(parameter.value, values[parameter.name])


@pytest.mark.parametrize(
    "options", [{"libver": "latest"}, {"track_order": True}, {}], ids=["latest", "order", "gzip"]
)
def test_the_copy_on_the_page_makes_hdf5_plain(options, arrays, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("packed.h5", "w", **options) as packed:
        for name, array in arrays.items():
            path = f"layers/{name.replace('.weight', '/vars/0').replace('.bias', '/vars/1')}"
            last = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.transpose()
            packed.create_dataset(path, data=last, compression=None if options else "gzip")
    with pytest.raises(InputError, match="copy it with h5py first"):
        read_weights("packed.h5")
    page = blocks(ROOT / "docs/howto/weights.md")
    (code,) = (block.code for block in page if "import h5py" in block.code)
    exec(code, {})
    assert_equal(read_weights("plain.h5").arrays, arrays)


def test_keras_with_many_layers(writers, rng, parse):
    """A group of many members is a tree of several nodes."""
    many = {f"layer{k}.bias": rng.normal(size=3).astype(np.float32) for k in range(300)}
    assert_equal(parse(writers["Keras"](many))[1], many)


def test_fortran_order_in_npz(writers, rng, parse):
    array = np.asfortranarray(rng.normal(size=(3, 4, 2)))
    assert_equal(parse(writers["npz"]({"a": array}))[1], {"a": array})


def test_safetensors_metadata_is_no_tensor(arrays, parse):
    data = safetensors.numpy.save(dict(arrays), metadata={"format": "pt"})
    assert_equal(parse(data)[1], arrays)


def test_a_file_of_no_kind_is_named_with_its_beginning(tmp_path):
    path = tmp_path / "vgg16.pth"
    path.write_bytes(b"<!DOCTYPE html><p>404 Not Found</p>")
    with pytest.raises(InputError, match=r"vgg16\.pth: .*begins with b'<!DOCTYPE ht'"):
        read_weights(path)
    with pytest.raises(InputError, match=r"none\.pth: no such weights file"):
        read_weights(tmp_path / "none.pth")
