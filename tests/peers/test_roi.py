"""The region operations equal what PyTorch makes of their definitions, gradients included."""

import numpy as np
import pytest

from minirpn import accel, nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")
functional = torch.nn.functional

STRIDE = 16.0
SIZE = (9, 13)  # of the map; the image has 144 by 208 pixels


def some_boxes(rng, count=40):
    """Draw boxes on the map, in part with their corners halfway between cells."""
    corners = rng.uniform(0, (np.array(SIZE) - 1) * STRIDE, (2, count, 2)).round(1)
    corners[:, : count // 4] = 8 * np.round(corners[:, : count // 4] / 8)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1)  # (y, x) twice -> x1 y1 x2 y2


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["roi_pool"])
@pytest.mark.parametrize("output_size", [(7, 7), (2, 3)])
def test_roi_pool_is_adaptive_pooling_of_the_cells_of_a_box(
    implementation, output_size, rng, close
):
    features, boxes = rng.normal(size=(5, *SIZE)), some_boxes(rng)
    dy = rng.normal(size=(len(boxes), 5, *output_size))
    # Corners are positive, so halves are rounded up.
    cells = np.floor(boxes / STRIDE + 0.5).astype(int)
    leaf = torch.tensor(features, requires_grad=True)
    expected = torch.stack(
        [
            functional.adaptive_max_pool2d(leaf[:, y1 : y2 + 1, x1 : x2 + 1], output_size)
            for x1, y1, x2, y2 in cells
        ]
    )
    (dfeatures,) = torch.autograd.grad(expected, leaf, torch.tensor(dy))
    with accel.use(implementation):
        y, cache = nn.roi_pool_forward(features, boxes, output_size=output_size)
        np.testing.assert_array_equal(y, expected.detach().numpy())
        close(nn.roi_pool_backward(dy, cache), dfeatures.numpy())


def positions(first, last, count, aligned):
    """Return where the samples of boxes are along one axis, in cells: (R,count)."""
    start, length = first / STRIDE, (last - first) / STRIDE
    if not aligned:
        length = length.clamp(min=1)
    t = (torch.arange(count, dtype=first.dtype) + 0.5) / count
    return (start - 0.5 * aligned)[:, None] + length[:, None] * t


def torch_align(features, boxes, output_size, samples, aligned):
    """Return RoI align from PyTorch's own sampling, which clamps to the border."""
    (Hf, Wf), (h, w) = features.shape[1:], output_size
    x = positions(boxes[:, 0], boxes[:, 2], w * samples, aligned)
    y = positions(boxes[:, 1], boxes[:, 3], h * samples, aligned)
    # (R,rows,1) and (R,1,columns) -> (R,rows,columns,2), with -1 and 1 for the first and last cell
    x, y = torch.broadcast_tensors(x[:, None, :], y[:, :, None])
    grid = torch.stack([2 * x / (Wf - 1) - 1, 2 * y / (Hf - 1) - 1], dim=-1)
    values = functional.grid_sample(
        features.expand(len(boxes), -1, -1, -1), grid, padding_mode="border", align_corners=True
    )
    far = (x < -1) | (x > Wf) | (y < -1) | (y > Hf)
    return functional.avg_pool2d(values * ~far[:, None], samples)


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["roi_align"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("samples", "output_size"), [(2, (7, 7)), (1, (2, 3)), (3, (3, 2))])
def test_roi_align_and_its_gradients(implementation, aligned, samples, output_size, rng, close):
    features = rng.normal(size=(5, *SIZE))
    # Across the border and off the map, empty along an axis, and inverted, too. Their numbers are
    # odd: nothing lies on the middle of a cell, where the slope jumps.
    boxes = some_boxes(rng) * rng.uniform(0.9, 1.5, (40, 1)) - rng.uniform(0, 50, (40, 1))
    boxes[:3, 2] = boxes[:3, 0]
    boxes[3:6] = boxes[3:6][:, [2, 3, 0, 1]]
    dy = rng.normal(size=(len(boxes), 5, *output_size))
    leaves = [torch.tensor(array, requires_grad=True) for array in (features, boxes)]
    expected = torch_align(*leaves, output_size, samples, aligned)
    grads = torch.autograd.grad(expected, leaves, torch.tensor(dy))
    options = {"output_size": output_size, "samples": samples, "aligned": aligned}
    with accel.use(implementation):
        y, cache = nn.roi_align_forward(features, boxes, **options)
        dfeatures, dboxes = nn.roi_align_backward(dy, cache)
    # PyTorch's grid goes to -1 .. 1 and back, which costs a digit or two.
    close(y, expected.detach().numpy(), rtol=1e-10, atol=1e-11)
    close(dfeatures, grads[0].numpy(), rtol=1e-10, atol=1e-11)
    close(dboxes, grads[1].numpy(), rtol=1e-9, atol=1e-10)
