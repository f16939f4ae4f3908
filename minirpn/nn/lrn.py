"""Local response normalization within channels, and its gradient.

S below is the sum over a window of ``size`` by ``size`` pixels around each pixel, where pixels
outside the map are zero. S is its own adjoint: pixel k is in the window of pixel i exactly if i is
in the window of k.
"""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import namespace_of
from minirpn.nn.layers import Grads, Layer, Window
from minirpn.nn.window import placed


class LRNCache(NamedTuple):
    """What `lrn_backward` needs: the input, and the scale of each pixel."""

    x: Array
    scale: Array
    size: int
    alpha: float
    beta: float


def lrn_forward(
    x: Array, *, size: int = 3, alpha: float = 5e-5, beta: float = 0.75
) -> tuple[Array, LRNCache]:
    r"""Return each pixel divided by a power of the mean square around it, and the cache.

    .. math:: y = x \, c^{-\beta} \quad c = 1 + \alpha / n^2 \, S(x^2)

    c is the scale, n is `size`; the window of S is of the same channel.

    Parameters
    ----------
    x
        (N,C,H,W), floating point.
    size
        Odd side of the window.
    alpha, beta
        Strength and power. The defaults are those of the released ZF network.

    Returns
    -------
    y
        (N,C,H,W).
    cache
        For `lrn_backward`.

    Raises
    ------
    ValueError
        `size` is not an odd number of at least 1.

    Notes
    -----
    Caffe's LRN with ``norm_region: WITHIN_CHANNEL``. Zeros around the map count in the mean, so the
    scale is smaller at the border. (PyTorch's LocalResponseNorm works across channels.)

    Examples
    --------
    >>> import numpy as np
    >>> lrn_forward(np.full((1, 1, 1, 1), 3.0), alpha=1.0, beta=1.0)[0].item()  # 3 / (1 + 9 / 9)
    1.5
    """
    namespace_of(x)
    check_shape(x, (None, None, None, None), "x")
    check_floating(x, "x")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size: expected an odd number of at least 1, got {size}")
    y, scale = lrn(x, size, alpha, beta)
    return y, LRNCache(x, scale, size, alpha, beta)


@accelerated("lrn")
def lrn(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return y and scale, both (N,C,H,W)."""
    xp = namespace_of(x)
    scale = 1.0 + alpha / size**2 * window_sums(x * x, size)
    return x * xp.pow(scale, -beta), scale


def lrn_backward(dy: Array, cache: LRNCache) -> Array:
    r"""Return dx (N,C,H,W): by the pixel itself, and by the windows that contain it.

    .. math:: dx = dy \, c^{-\beta} - 2 \alpha \beta / n^2 \, x \, S(dy \, x \, c^{-\beta - 1})
    """
    namespace_of(dy)
    x, scale, size, alpha, beta = cache
    check_shape(dy, x.shape, "dy")
    return lrn_dx(dy, x, scale, size, alpha, beta)


@accelerated("lrn_dx")
def lrn_dx(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return dx (N,C,H,W)."""
    xp = namespace_of(dy, x, scale)
    kept = dy * xp.pow(scale, -beta)
    return kept - 2.0 * alpha * beta / size**2 * x * window_sums(kept * x / scale, size)


def window_sums(x: Array, size: int) -> Array:
    """Return S(x), first along columns, then along rows: 2 size additions, not size^2."""
    H, W = x.shape[2:]
    image = placed(x, (size // 2, size // 2), (H + size - 1, W + size - 1))
    of_columns = image[:, :, :H, :]
    for row in range(1, size):
        of_columns = of_columns + image[:, :, row : row + H, :]
    sums = of_columns[:, :, :, :W]
    for column in range(1, size):
        sums = sums + of_columns[:, :, :, column : column + W]
    return sums


class LRN(Layer):
    """Local response normalization; the options are those of `lrn_forward`."""

    def __init__(
        self, name: str, *, size: int = 3, alpha: float = 5e-5, beta: float = 0.75
    ) -> None:
        super().__init__(name)
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Array) -> tuple[Array, LRNCache]:
        """Return the output, and what `backward` needs."""
        return lrn_forward(x, size=self.size, alpha=self.alpha, beta=self.beta)

    def backward(
        self, dy: Array, cache: LRNCache, *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        """Return dx (None unless `need_dx`); there are no parameters."""
        return (lrn_backward(dy, cache) if need_dx else None), {}

    def windows(self) -> tuple[Window, ...]:
        """Return its window, which keeps the size of the map."""
        reach = self.size // 2
        return (Window((self.size, self.size), (1, 1), (reach, reach)),)
