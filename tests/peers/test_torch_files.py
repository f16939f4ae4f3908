"""Files that PyTorch itself has saved are read to the last bit."""

import collections

import numpy as np
import pytest

from minirpn.weights import read_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")

CONTAINERS = {"PyTorch": True, "PyTorch (legacy)": False}


@pytest.fixture(params=CONTAINERS)
def saved(request, tmp_path):
    """Save in one container, read, and check the label."""

    def save(content):
        path = tmp_path / "file.bin"
        torch.save(content, path, _use_new_zipfile_serialization=CONTAINERS[request.param])
        file = read_weights(path)
        assert file.kind == request.param
        return file.arrays

    return save


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64]
)
def test_every_kind_of_number(saved, dtype):
    values = (100 * torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))).to(dtype)
    read = saved({"a": values, "empty": values[:0], "one": values[0, 0, 0]})
    # NumPy has no bfloat16; float32 holds each of its numbers.
    expected = (values.float() if dtype == torch.bfloat16 else values).numpy()
    assert read["a"].dtype == expected.dtype
    np.testing.assert_array_equal(read["a"], expected)
    assert read["empty"].size == 0
    assert read["one"] == expected[0, 0, 0]


def test_views_parameters_and_ties(saved):
    whole = torch.arange(60.0).reshape(3, 4, 5)
    content = {
        "transposed": whole.transpose(0, 2),
        "part": whole[1:, ::2, 1:4],
        "parameter": torch.nn.Parameter(whole),
        "again": whole,
    }
    for name, array in saved(content).items():
        np.testing.assert_array_equal(array, content[name].detach().numpy())


def test_a_module_and_a_checkpoint_around_it(saved):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = module.state_dict()  # with a _metadata attribute, and a count in int64
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    assert set(saved(state)) == set(state)
    content = {"epoch": 3, "best": 0.5, "model": state, "optimizer": optimizer.state_dict()}
    read = saved(content)
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[f"model.{name}"], tensor.numpy())
    assert "optimizer.state.0.momentum_buffer" in read
    assert set(saved(collections.OrderedDict(state))) == set(state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_of_pytorch(dtype, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    safetensors.save_file({"a": values}, tmp_path / "file.bin", metadata={"format": "pt"})
    file = read_weights(tmp_path / "file.bin")
    assert file.kind == "safetensors"
    expected = (values.float() if dtype == torch.bfloat16 else values).numpy()
    assert file.arrays["a"].dtype == expected.dtype
    np.testing.assert_array_equal(file.arrays["a"], expected)
