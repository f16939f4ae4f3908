"""Launches ``max_pool2d.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels.cuda._load import Kernel, Launch, contiguous, for_each, on_device
from minirpn.kernels.window import Pair


def max_pool2d_cuda(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
    need_winner: bool = True,
    *,
    launch: Launch = on_device,
) -> tuple[Array, Array | None]:
    """Return the largest pixel of each window, and which tap it was, a thread for each output."""
    xp, device, (N, C, H, W), (Ho, Wo) = namespace_of(x), device_of(x), x.shape, output_size
    y = xp.empty((N, C, Ho, Wo), dtype=x.dtype, device=device)
    winner = xp.empty(y.shape if need_winner else (1,), dtype=xp.int32, device=device)
    for_each(
        launch,
        Kernel("max_pool2d", "max_pool2d", str(x.dtype)),
        (Ho * Wo, N * C),
        *(contiguous(x), y, winner, need_winner),
        *(N * C, H, W, Ho, Wo, *kernel, *stride, *padding),
    )
    return y, winner if need_winner else None


def max_pool2d_dx_cuda(
    dy: Array,
    winner: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    size: Pair,
    *,
    launch: Launch = on_device,
) -> Array:
    """Return dx (N,C,H,W), a thread for each pixel, which gathers what it gets."""
    xp, (N, C, Ho, Wo), (H, W) = namespace_of(dy, winner), dy.shape, size
    dx = xp.empty((N, C, H, W), dtype=dy.dtype, device=device_of(dy))
    for_each(
        launch,
        Kernel("max_pool2d", "max_pool2d_dx", str(dy.dtype)),
        (H * W, N * C),
        *(contiguous(dy), contiguous(winner), dx),
        *(N * C, H, W, Ho, Wo, *kernel, *stride, *padding),
    )
    return dx
