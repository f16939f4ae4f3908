"""A stand-in for the module ``cudnn``: graphs of one convolution, computed by the loops.

It offers four plans for each and says of three of them what cuDNN says of such: that it rounds
factors, that its sums come in any order, that it needs very much memory.
"""

from types import SimpleNamespace

import numpy as np

from minirpn import loops
from minirpn.accel.cuda.cudnn_plans import planned

data_type = SimpleNamespace(FLOAT="float32")
heur_mode = SimpleNamespace(A="A", FALLBACK="FALLBACK")
NOTES = "TENSOR_CORE", "DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION", "NONDETERMINISTIC"
numerical_note = SimpleNamespace(**{note: note for note in NOTES})


class cudnnGraphNotSupportedError(RuntimeError):  # noqa: N801  (its name)
    """No plan is left."""


class Tensor:
    """A tensor of a graph: what is said of an array that is given later."""

    def __init__(self, uid, **said):
        self.uid, self.said, self.computed = uid, said, None

    def get_uid(self):
        return self.uid

    def set_output(self, is_one):
        assert is_one
        return self

    def set_data_type(self, dtype):
        return self._say(data_type=dtype)

    def set_dim(self, dim):
        return self._say(dim=dim)

    def set_stride(self, stride):
        return self._say(stride=stride)

    def _say(self, **said):
        self.said |= said
        return self

    def assert_describes(self, array):
        """Assert that an array has the shape, dtype and place in memory that were said."""
        assert list(array.shape) == self.said["dim"]
        assert str(array.dtype) == self.said["data_type"]
        for axis, (length, step) in enumerate(zip(array.shape, self.said["stride"], strict=True)):
            assert length == 1 or array.strides[axis] == step * array.itemsize


class pygraph:  # noqa: N801  (its name)
    """A graph of one convolution."""

    def __init__(self, **options):
        self.tensors, self.plans = {}, None

    def tensor(self, **said):
        tensor = Tensor(len(self.tensors) + 1, **said)
        self.tensors[tensor.uid] = tensor
        return tensor

    def conv_fprop(self, *, image, weight, padding, stride, dilation):
        def y(out):
            zeros = np.zeros(weight.array.shape[0], np.float32)
            out[...] = loops.conv2d(image.array, weight.array, zeros, stride, padding)

        return self._computed_by(y, dilation)

    def conv_dgrad(self, *, loss, filter, padding, stride, dilation):
        def dx(out):
            out[...] = loops.conv2d_dx(loss.array, filter.array, out.shape[2:], stride, padding)

        return self._computed_by(dx, dilation)

    def conv_wgrad(self, *, image, loss, padding, stride, dilation):
        def dweight(out):
            kernel = out.shape[2:]
            out[...] = loops.conv2d_dweight(loss.array, image.array, kernel, stride, padding)

        return self._computed_by(dweight, dilation)

    def _computed_by(self, computed, dilation):
        assert dilation == [1, 1]
        result = self.tensor()
        result.computed = computed
        return result

    def validate(self):
        assert all(tensor.said.keys() >= {"dim", "stride"} for tensor in self.tensors.values())

    def build_operation_graph(self):
        pass

    def create_execution_plans(self, modes):
        assert modes == ["A", "FALLBACK"]
        self.plans = [
            SimpleNamespace(name="rounding", notes={"TENSOR_CORE"}, bytes=0),
            SimpleNamespace(name="unsteady", notes={"NONDETERMINISTIC"}, bytes=0),
            SimpleNamespace(name="large", notes=set(), bytes=2**34),
            SimpleNamespace(name="plain", notes=set(), bytes=512),
        ]

    def deselect_numeric_notes(self, notes):
        self.plans = [plan for plan in self.plans if not plan.notes & set(notes)]

    def deselect_workspace_greater_than(self, limit):
        self.plans = [plan for plan in self.plans if plan.bytes <= limit]

    def check_support(self):
        if not self.plans:
            raise cudnnGraphNotSupportedError("none of 4 plans is left")

    def build_plans(self):
        self.built = self.plans[0]

    def get_workspace_size(self):
        return self.built.bytes

    def execute(self, arrays, workspace, handle=None):
        assert self.built.bytes == workspace
        for uid, array in arrays.items():
            self.tensors[uid].assert_describes(array)
            self.tensors[uid].array = array
        (result,) = (tensor for tensor in self.tensors.values() if tensor.computed)
        result.computed(result.array)


class Compute:
    """Computes with the stand-in, on NumPy's arrays; it keeps what it has planned."""

    def __init__(self, module):
        self.module, self.planned = module, []

    def __call__(self, convolution, first, second, out):
        plan = planned(self.module, convolution)
        self.planned.append((convolution, plan.graph.built.name))
        arrays = dict(zip(plan.uids, (first, second, out), strict=True))
        plan.graph.execute(arrays, plan.workspace_bytes)
        return True
