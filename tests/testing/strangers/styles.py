"""Other forms of an answer: lists, tensors, float32; and functions that raise for odd arrays."""

import numpy as np


class Tensor:
    """Like a tensor of PyTorch that requires a gradient: NumPy cannot read it as it is."""

    def __init__(self, values, requires_grad=True):
        self.values, self.requires_grad = np.asarray(values), requires_grad

    @property
    def shape(self):
        return self.values.shape

    @property
    def ndim(self):
        return self.values.ndim

    def __len__(self):
        return len(self.values)

    def detach(self):
        return Tensor(self.values, requires_grad=False)

    def cpu(self):
        return self

    def numpy(self):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


def as_tensors(function):
    """Return the function with each array of its answer as a tensor."""

    def tensors(*places, **options):
        result = function(*places, **options)
        if isinstance(result, tuple):
            return tuple(Tensor(part) for part in result)
        return Tensor(result)

    tensors.__name__ = f"{function.__name__}_as_tensor"
    return tensors


def in_lists(function):
    """Return the function with its answer in nested lists."""

    def lists(*places, **options):
        return np.asarray(function(*places, **options)).tolist()

    lists.__name__ = f"{function.__name__}_in_lists"
    return lists


def in_single(function):
    """Return the function with its answer in float32."""

    def single(*places, **options):
        return np.float32(function(*places, **options))

    single.__name__ = f"{function.__name__}_in_single"
    return single


def of_plain_arrays(function):
    """Return the function, but raising for negative strides, as `torch.from_numpy` does."""

    def plain(*places, **options):
        for array in places:
            if any(stride < 0 for stride in getattr(array, "strides", ())):
                raise ValueError("At least one stride in the given numpy array is negative.")
        return function(*places, **options)

    plain.__name__ = f"{function.__name__}_of_plain_arrays"
    return plain


def of_writable_arrays(function):
    """Return the function, but raising for read-only arrays, as compiled code may."""

    def writable(*places, **options):
        for array in places:
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                raise ValueError("buffer source array is read-only")
        return function(*places, **options)

    writable.__name__ = f"{function.__name__}_of_writable_arrays"
    return writable
