"""How cuDNN computes a convolution of given shapes: it is planned once, and the plan is kept.

cuDNN (``pip install nvidia-cudnn-frontend nvidia-cudnn-cu12``, or ``cu13``) offers plans for a
graph of operations, here of a single one. The plan used is the first recommended one that gives the
same result every time, needs no more memory than `WORKSPACE_BYTES`, and multiplies in true float32
if TF32 is not allowed.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import warnings
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

from minirpn._typing import OtherArray
from minirpn.accel.cuda._load import computing_on, cuda_present
from minirpn.backend import device_of
from minirpn.nn.window import Pair

Shape: TypeAlias = tuple[int, ...]

# The most that a plan may need besides its inputs and output: six times the most needed here.
WORKSPACE_BYTES = 2**30
# A network has some 40 convolutions and their gradients, and VOC2007 alone 416 sizes of input.
MOST_PLANS = 32_768
INSTALL = "pip install nvidia-cudnn-frontend, and nvidia-cudnn-cu12 or -cu13"


class Convolution(NamedTuple):
    """A convolution to plan: one of its arrays is computed from the other two."""

    result: str  # "y", "dx" or "dweight"; the shape of a gradient is that of its array
    x: Shape  # (N,C,H,W)
    weight: Shape  # (O,C,kh,kw)
    y: Shape  # (N,O,Ho,Wo)
    stride: Pair
    padding: Pair
    tf32: bool  # whether factors may be rounded to 10 bits

    @property
    def result_shape(self) -> Shape:
        """The shape of what is computed."""
        return {"y": self.y, "dx": self.x, "dweight": self.weight}[self.result]

    @property
    def channels_last(self) -> bool:
        """Whether all arrays lie in memory with channels last.

        Tensor cores, which compute in TF32, want them so; the units for true float32 want them as
        NumPy has them. cuDNN would also accept the other order, and rearrange the arrays in a
        workspace of twice the size of an image's activations.
        """
        return self.tf32


class NoPlanError(RuntimeError):
    """cuDNN has no plan for a convolution that is good enough."""


def compute(
    convolution: Convolution, first: OtherArray, second: OtherArray, out: OtherArray
) -> bool:
    """Write the result into `out`, and return whether cuDNN has a plan for it.

    The inputs are x, weight for y; dy, weight for dx; x, dy for dweight. All are arrays of CuPy,
    and lie in memory as the convolution says. Without a plan, `out` is as it was.
    """
    import cupy

    device = device_of(out)
    with computing_on(device):
        plan = _plan(convolution, device.id)
        if plan is None:
            return False
        handle = _handle(device.id, threading.get_ident())
        _cudnn().set_stream(handle=handle, stream=cupy.cuda.get_current_stream().ptr)
        workspace = cupy.empty(plan.workspace_bytes, dtype=cupy.uint8)
        pointers = (array.data.ptr for array in (first, second, out))
        plan.graph.execute(
            dict(zip(plan.uids, pointers, strict=True)), workspace.data.ptr, handle=handle
        )
    return True


class Plan(NamedTuple):
    """A graph that is ready to run."""

    graph: Any
    uids: tuple[int, ...]  # of both inputs and the result
    workspace_bytes: int


# A small convolution as networks have them, to see whether cuDNN can plan at all.
TRIAL = Convolution("y", (1, 8, 8, 8), (8, 8, 3, 3), (1, 8, 8, 8), (1, 1), (1, 1), tf32=False)


@cache
def find_cudnn() -> tuple[str, str | None]:
    """Return which cuDNN is installed, and why it cannot be used; None if it can.

    Where there is a working GPU, this plans a convolution for it: frontends differ in what they
    need, and some fail only when they plan.
    """
    about = ""
    try:
        cudnn = _cudnn()
        about = f"{cudnn.backend_version_string()}, frontend {cudnn.__version__}"
        if cuda_present():
            planned(cudnn, TRIAL, handle=cudnn.create_handle())
    except ModuleNotFoundError as error:
        missing = error.name or "cudnn"
        return about, f"{missing} is not installed ({INSTALL})"
    except Exception as error:  # any trouble with its libraries
        return about, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return about, None


@cache
def cudnn_present() -> bool:
    """Tell whether there are cuDNN and a working CUDA device; `minirpn info` says why not.

    If it is installed but cannot plan, a warning says so once.
    """
    if not cuda_present():
        return False
    about, trouble = find_cudnn()
    if about and trouble is not None:
        _warn(f"cuDNN {about} cannot be used: {trouble}")
    return trouble is None


def _warn(trouble: str) -> None:
    warnings.warn(f"{trouble}; slower convolutions run instead", RuntimeWarning, stacklevel=3)


def planned(cudnn: Any, convolution: Convolution, **options: Any) -> Plan:
    """Return a plan, or raise `NoPlanError` if none is good enough.

    Parameters
    ----------
    cudnn
        The module, or a stand-in for it.
    convolution
        The convolution to plan.
    options
        Those of the graph, such as ``handle=`` of the device that plans and computes.
    """
    float32 = cudnn.data_type.FLOAT
    graph = cudnn.pygraph(
        io_data_type=float32,
        intermediate_data_type=float32,
        compute_data_type=float32,
        **options,
    )
    *inputs, result = _with_operation(graph, float32, convolution)
    try:
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.deselect_numeric_notes(_barred(cudnn.numerical_note, convolution.tf32))
        graph.deselect_workspace_greater_than(WORKSPACE_BYTES)
        graph.check_support()
        graph.build_plans()
    except cudnn.cudnnGraphNotSupportedError as error:
        raise NoPlanError(f"cuDNN has no plan for {convolution}: {error}") from error
    uids = tuple(tensor.get_uid() for tensor in (*inputs, result))
    return Plan(graph, uids, graph.get_workspace_size())


def _with_operation(graph: Any, float32: Any, convolution: Convolution) -> tuple[Any, ...]:
    """Add the operation to a graph; return the tensors of both inputs and the result."""

    def tensor(name: str, shape: Shape) -> Any:
        strides = strides_of(shape, convolution.channels_last)
        return graph.tensor(name=name, dim=list(shape), stride=strides, data_type=float32)

    windows = {
        "padding": list(convolution.padding),
        "stride": list(convolution.stride),
        "dilation": [1, 1],
    }
    match convolution.result:
        case "y":
            inputs = tensor("x", convolution.x), tensor("weight", convolution.weight)
            result = graph.conv_fprop(image=inputs[0], weight=inputs[1], **windows)
        case "dx":
            inputs = tensor("dy", convolution.y), tensor("weight", convolution.weight)
            result = graph.conv_dgrad(loss=inputs[0], filter=inputs[1], **windows)
        case _:
            inputs = tensor("x", convolution.x), tensor("dy", convolution.y)
            result = graph.conv_wgrad(image=inputs[0], loss=inputs[1], **windows)
    result.set_output(True).set_data_type(float32)
    shape = convolution.result_shape
    result.set_dim(list(shape)).set_stride(strides_of(shape, convolution.channels_last))
    return *inputs, result


def _barred(notes: Any, tf32: bool) -> list[Any]:
    """Return the notes on numbers that a plan must not have."""
    rounds = [notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS, notes.REDUCED_PRECISION_REDUCTION]
    return [notes.NONDETERMINISTIC, *([] if tf32 else rounds)]


def strides_of(shape: Shape, channels_last: bool) -> list[int]:
    """Return the strides of (N,C,H,W), in elements."""
    _, C, H, W = shape
    return [C * H * W, 1, W * C, C] if channels_last else [C * H * W, H * W, W, 1]


@cache
def _cudnn() -> Any:
    """Return the module ``cudnn``."""
    _load_cudart()
    return importlib.import_module("cudnn")


def _load_cudart() -> None:
    """Load the CUDA runtime, which frontends from 1.24 on expect to be loaded.

    CuPy has its own built in. `cuda.pathfinder`, which comes with CuPy, finds the one that pip has
    installed.
    """
    # If there is none, an older frontend does not need it, and a newer one will say so.
    with contextlib.suppress(Exception):
        pathfinder = importlib.import_module("cuda.pathfinder")
        pathfinder.load_nvidia_dynamic_lib("cudart")


@lru_cache(MOST_PLANS)
def _plan(convolution: Convolution, device: int) -> Plan | None:
    """Return the plan for a convolution; None, after a warning, where cuDNN has none."""
    try:
        return planned(_cudnn(), convolution, handle=_handle(device, threading.get_ident()))
    except Exception as error:  # cuDNN has many kinds of errors for what it lacks
        _warn(f"{type(error).__name__}: {str(error).splitlines()[0]}")
        return None


@cache
def _handle(device: int, thread: int) -> Any:
    """Return a handle for the current device; two threads must not use one at the same time."""
    return _cudnn().create_handle()
