"""The Region Proposal Network in one file of NumPy. Read it from top to bottom.

The network looks at an image and proposes boxes where objects may be, each with a score. It is the
first half of Faster R-CNN (Ren et al. 2015, https://arxiv.org/abs/1506.01497), here "the paper".

    image -> backbone -> features -> head -> objectness, deltas -+-> proposals
    gt_boxes (ground truth) -> labels -> sample -> targets ------+-> loss -> gradients -> SGD

`python tutorials/rpn.py` draws pictures of shapes, learns to find the shapes in about a minute, and
prints the share it finds in new pictures. Letters in shapes: N images, C channels, H W image, Hf Wf
feature map, A anchors per cell, K = Hf * Wf * A anchors, M ground truths, R proposals.
"""

import sys
from importlib.util import find_spec

import numpy as np

IMAGE_SIZE = (192, 256)  # height, width; the paper's images have about 600 x 1000 pixels
STRIDE = 16  # image pixels from one cell of the feature map to the next
RATIOS = (0.5, 1.0, 2.0)  # of an anchor: height / width
SCALES = (2, 4, 8)  # of an anchor: 32, 64 and 128 pixels; the paper's are 8, 16, 32
A = len(RATIOS) * len(SCALES)
POSITIVE, NEGATIVE, IGNORE = 1, 0, -1  # labels: object, background, left out of the loss


# === 1. Boxes ======================================================= Library: minirpn/boxes.py ===
# A box is (x1, y1, x2, y2) in pixels and half-open: its width is x2 - x1, and boxes that touch
# share nothing. The image is (0, 0, width, height). Centers are x, y in formulas, sides are w, h.
def iou(a, b):
    """Return the intersection over union (N, M) of all boxes a (N, 4) with all boxes b (M, 4)."""
    upper_left = np.maximum(a[:, None, :2], b[None, :, :2])  # (N, 1, 2) and (1, M, 2) -> (N, M, 2)
    lower_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(lower_right - upper_left, 0).prod(axis=2)  # (N, M, 2) -> (N, M)
    area_a, area_b = (np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) for boxes in (a, b))
    covered = area_a[:, None] + area_b[None, :] - shared
    return shared / np.where(shared > 0, covered, 1)  # an empty box has IoU 0, never 0 / 0


def clip(boxes, image_size):
    """Return boxes (..., 4) cut off at the borders of the image."""
    height, width = image_size
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=boxes.dtype))


def encode(anchors, boxes):
    """Return the deltas (..., 4) that lead from anchors (..., 4) to boxes (..., 4): eq. 2."""
    # tx = (x - xa) / wa, ty = (y - ya) / ha, tw = log(w / wa), th = log(h / ha); a is the anchor.
    anchor_sides, sides = anchors[..., 2:] - anchors[..., :2], boxes[..., 2:] - boxes[..., :2]
    anchor_centers, centers = anchors[..., :2] + anchor_sides / 2, boxes[..., :2] + sides / 2
    shifts, log_scales = (centers - anchor_centers) / anchor_sides, np.log(sides / anchor_sides)
    return np.concatenate([shifts, log_scales], axis=-1)


def decode(anchors, deltas):
    """Return the boxes (..., 4) that deltas (..., 4) lead to from anchors (..., 4)."""
    anchor_sides = anchors[..., 2:] - anchors[..., :2]
    centers = anchors[..., :2] + anchor_sides / 2 + deltas[..., :2] * anchor_sides
    sides = anchor_sides * np.exp(deltas[..., 2:])
    return np.concatenate([centers - sides / 2, centers + sides / 2], axis=-1)


def nms(boxes, scores, iou_threshold, max_keep):
    """Return the indices (R,) of the boxes (N, 4) that stay, highest of scores (N,) first."""
    # Keep the best box, drop those that overlap it too much, and repeat. Of equals, the first wins.
    left, kept = np.argsort(-scores, kind="stable"), []
    while len(left) > 0 and len(kept) < max_keep:
        best, others = left[0], left[1:]
        kept.append(best)
        overlaps = iou(boxes[best][None], boxes[others])[0]  # (1, n) -> (n,)
        left = others[overlaps <= iou_threshold]
    return np.array(kept, dtype=np.int64)


# === 2. Anchors (section 3.1.1) =============================== Library: minirpn/rpn/anchors.py ===
# Anchors are boxes of several sizes and shapes at every cell of the feature map. The network says
# which of them hold an object, and how to move them onto it.
def base_anchors(ratios=RATIOS, scales=SCALES):
    """Return the anchors (A, 4) of cell (0, 0): one ratio after the other, each at every scale."""
    rows, center = [], STRIDE / 2
    for ratio in ratios:
        # Whole pixels, as in the authors' code: then anchors that overlap equally do so exactly.
        width = round(np.sqrt(STRIDE**2 / ratio))
        height = round(width * ratio)
        for scale in scales:
            dx, dy = width * scale / 2, height * scale / 2
            rows.append((center - dx, center - dy, center + dx, center + dy))
    return np.array(rows)


def grid_anchors(base, feature_size):
    """Return the anchors (K, 4) of (Hf, Wf) cells, in the order (row, column, base anchor)."""
    y, x = np.meshgrid(*(STRIDE * np.arange(size) for size in feature_size), indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1)  # (Hf, Wf, 4)
    return (shifts[:, :, None, :] + base).reshape(-1, 4)  # (Hf, Wf, A, 4) -> (K, 4)


# === 3. Training targets (section 3.1.2) ====================== Library: minirpn/rpn/targets.py ===
def label_anchors(anchors, gt_boxes, image_size):
    """Return labels (K,) of anchors (K, 4) and their match (K,) among gt_boxes (M, 4), M >= 1."""
    # In float64, so that labels do not depend on the precision of the network.
    overlaps = iou(anchors.astype(np.float64), gt_boxes.astype(np.float64))  # (K, M)
    inside = (anchors == clip(anchors, image_size)).all(axis=1)  # the others stay ignored
    allowed = np.where(inside[:, None], overlaps, 0)
    best_of_gt, max_iou = allowed.max(axis=0), overlaps.max(axis=1)  # (M,), (K,)
    is_best = ((allowed == best_of_gt) & (allowed > 0)).any(axis=1)  # all that tie: (K, M) -> (K,)
    labels = np.full(len(anchors), IGNORE, dtype=np.int8)
    labels[inside & (max_iou < 0.3)] = NEGATIVE
    labels[inside & ((max_iou >= 0.7) | is_best)] = POSITIVE  # so each object gets one, if it can
    return labels, overlaps.argmax(axis=1)


def sample_minibatch(labels, rng, batch_size=256):
    """Return labels (K,) of 256 drawn anchors, at most half of them positive; IGNORE elsewhere."""
    sampled = np.full_like(labels, IGNORE)
    for label, limit in ((POSITIVE, batch_size // 2), (NEGATIVE, batch_size)):
        indices = np.flatnonzero(labels == label)
        room = limit - np.count_nonzero(sampled == POSITIVE)  # negatives fill what is left
        chosen = rng.choice(indices, room, replace=False) if len(indices) > room else indices
        sampled[chosen] = label
    return sampled


# === 4. Layers ================== Library: minirpn/nn/conv.py, nn/activations.py, nn/pooling.py ===
# A forward returns its output y and a cache. The backward takes dy, the gradient of the loss by y,
# and the cache, and returns the gradients by the inputs.
def conv2d_forward(x, weight, bias, stride=1, padding=0):
    """Return y (N, O, Ho, Wo) of x (N, C, H, W), weight (O, C, k, k) and bias (O,); and a cache."""
    # Each output is the sum of a window of x times a kernel. Copy every window into a column
    # ("im2col"). Then one matrix product does all the work.
    (N, C, _, _), (outputs, _, k, _) = x.shape, weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride].transpose(0, 1, 4, 5, 2, 3)  # (N, C, k, k, Ho, Wo)
    Ho, Wo = windows.shape[4:]
    columns = windows.reshape(N, C * k * k, Ho * Wo)
    y = weight.reshape(outputs, C * k * k) @ columns + bias[:, None]  # (N, O, Ho * Wo)
    return y.reshape(N, outputs, Ho, Wo), (columns, padded.shape, weight, stride, padding)


def conv2d_backward(dy, cache):
    """Return dx (N, C, H, W), dweight (O, C, k, k) and dbias (O,), given dy (N, O, Ho, Wo)."""
    columns, padded_shape, weight, stride, padding = cache
    (N, outputs, Ho, Wo), (_, C, k, _) = dy.shape, weight.shape
    dy = dy.reshape(N, outputs, Ho * Wo)
    dweight = (dy @ columns.transpose(0, 2, 1)).sum(axis=0).reshape(weight.shape)
    dcolumns = (weight.reshape(outputs, C * k * k).T @ dy).reshape(N, C, k, k, Ho, Wo)
    dx = np.zeros(padded_shape, dtype=dy.dtype)
    for i, j in np.ndindex(k, k):  # a pixel is in many windows: its gradients are added
        dx[:, :, i : i + stride * Ho : stride, j : j + stride * Wo : stride] += dcolumns[:, :, i, j]
    dx = dx[:, :, padding:-padding, padding:-padding] if padding else dx
    return dx, dweight, dy.sum(axis=(0, 2))


def relu_forward(x):
    """Return max(x, 0) for x (...), and a cache."""
    return np.maximum(x, 0), x


def relu_backward(dy, cache):
    """Return dx (...): the gradient dy (...) where x was above 0, and 0 elsewhere."""
    return dy * (cache > 0)


def max_pool2d_forward(x):
    """Return the largest of each 2 x 2 pixels of x (N, C, H, W): (N, C, H / 2, W / 2); a cache."""
    corners = np.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    return corners.max(axis=0), corners.argmax(axis=0)  # (4, ...) -> (...); first of equals wins


def max_pool2d_backward(dy, cache):
    """Return dx (N, C, H, W): each dy (N, C, H / 2, W / 2) goes to the pixel that won."""
    N, C, Ho, Wo = dy.shape
    dx = np.zeros((N, C, 2 * Ho, 2 * Wo), dtype=dy.dtype)
    for corner in range(4):
        dx[:, :, corner // 2 :: 2, corner % 2 :: 2] = dy * (cache == corner)
    return dx


# === 5. Network =============== Library: minirpn/backbones/tiny.py, rpn/head.py, rpn/network.py ===
# Five 3x3 convolutions are the backbone. A sixth begins the head: it slides over their features.
# Two 1x1 siblings after it say what each anchor holds, and how to move it.
CHANNELS = {"conv1": 16, "conv2": 32, "conv3": 64, "conv4": 128, "conv5": 128, "rpn.conv": 128}
SIBLINGS = {"rpn.objectness": 2 * A, "rpn.deltas": 4 * A}
HALVED = ("conv1", "conv2", "conv3")  # followed by pooling; conv1 also has stride 2


def init_parameters(rng):
    """Return [weight (O, C, k, k), bias (O,)] of every convolution, by name."""
    parameters, inputs = {}, 3
    for name, outputs in (CHANNELS | SIBLINGS).items():
        shape = (outputs, inputs, 3, 3) if name in CHANNELS else (outputs, inputs, 1, 1)
        # 0.01 as in the paper. An untrained backbone needs more, or its activations become tiny.
        std = 0.01 if name.startswith("rpn.") else np.sqrt(2 / np.prod(shape[1:]))
        weight, bias = rng.normal(0, std, shape), np.zeros(outputs)
        parameters[name] = [weight.astype(np.float32), bias.astype(np.float32)]
        inputs = CHANNELS.get(name, inputs)  # both siblings read the output of rpn.conv
    return parameters


def network_forward(parameters, image):
    """Return objectness (K, 2) and deltas (K, 4) for an image (3, H, W), and a cache."""
    x, caches, answers = image[None], {}, []  # (3, H, W) -> (1, 3, H, W)
    for name in CHANNELS:
        stride = 2 if name == "conv1" else 1
        x, conv_cache = conv2d_forward(x, *parameters[name], stride, padding=1)
        x, relu_cache = relu_forward(x)
        x, pool_cache = max_pool2d_forward(x) if name in HALVED else (x, None)
        caches[name] = conv_cache, relu_cache, pool_cache
    for name in SIBLINGS:
        y, caches[name] = conv2d_forward(x, *parameters[name])
        y = y.reshape(A, -1, *y.shape[2:])  # (1, A * values, Hf, Wf) -> (A, values, Hf, Wf)
        answers.append(y.transpose(2, 3, 0, 1).reshape(-1, y.shape[1]))  # -> (K, values)
    return *answers, (caches, x.shape[2:])


def network_backward(dobjectness, ddeltas, cache):
    """Return [dweight, dbias] of every convolution, given dobjectness (K, 2) and ddeltas (K, 4)."""
    caches, (Hf, Wf) = cache
    grads, dx = {}, 0
    for name, dy in zip(SIBLINGS, (dobjectness, ddeltas), strict=True):
        dy = dy.reshape(Hf, Wf, -1).transpose(2, 0, 1)  # (K, values) -> (A * values, Hf, Wf)
        by_sibling, *grads[name] = conv2d_backward(dy[None], caches[name])
        dx = dx + by_sibling  # both read the same features
    for name in reversed(CHANNELS):
        conv_cache, relu_cache, pool_cache = caches[name]
        dx = max_pool2d_backward(dx, pool_cache) if name in HALVED else dx
        dx, *grads[name] = conv2d_backward(relu_backward(dx, relu_cache), conv_cache)
    return grads


# === 6. Loss (eq. 1) ============================================= Library: minirpn/rpn/loss.py ===
# 1/N_cls * sum of L_cls(p, p*) + lambda/N_reg * sum of p* L_reg(t, t*). L_cls is the log loss of
# background and object, L_reg is smooth L1, p* is 1 for positives, N_reg = Hf * Wf, lambda balance.
def rpn_loss_forward(objectness, deltas, labels, targets, n_cls=256, balance=10):
    """Return the loss of objectness (K, 2) and deltas (K, 4), given labels and targets; a cache."""
    sampled, positive = labels != IGNORE, labels == POSITIVE
    log_p = objectness - np.logaddexp(objectness[:, :1], objectness[:, 1:])  # log softmax: (K, 2)
    right = np.stack([~positive, positive], axis=1)  # (K, 2): which of the two is right
    objectness_loss = -log_p[right & sampled[:, None]].sum() / n_cls
    difference = (deltas - targets) * positive[:, None]
    size, n_reg = np.abs(difference), len(labels) / A
    box_loss = np.where(size < 1, 0.5 * size**2, size - 0.5).sum() * balance / n_reg
    return objectness_loss + box_loss, (log_p, right, sampled, difference, n_cls, balance / n_reg)


def rpn_loss_backward(cache):
    """Return the gradients of the loss: dobjectness (K, 2) and ddeltas (K, 4)."""
    log_p, right, sampled, difference, n_cls, box_weight = cache
    dobjectness = (np.exp(log_p) - right) * sampled[:, None] / n_cls
    return dobjectness, np.clip(difference, -1, 1) * box_weight  # smooth L1 has slopes of at most 1


# === 7. SGD as Caffe does it (section 3.1.3) ===================== Library: minirpn/nn/optim.py ===
def sgd_step(parameters, velocity, grads, lr, momentum=0.9, weight_decay=0.0005):
    """Replace every [weight, bias] by one that is moved against its gradient."""
    for name, values in parameters.items():
        for i, rate in enumerate((lr, 2 * lr)):  # the authors' biases learn at twice the rate
            change = rate * (grads[name][i] + weight_decay * values[i])
            velocity[name][i] = momentum * velocity[name][i] + change
            values[i] = values[i] - velocity[name][i]


# === 8. Proposals (section 3.3) ============================= Library: minirpn/rpn/proposals.py ===
def propose(anchors, objectness, deltas, image_size, min_size=16, pre_nms=6000, post_nms=300):
    """Return proposals (R, 4) and their scores (R,), the best first, of anchors (K, 4)."""
    # The softmax of two numbers is the logistic function of their difference.
    scores = 1 / (1 + np.exp(objectness[:, 0] - objectness[:, 1]))
    boxes = clip(decode(anchors, deltas), image_size)
    large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= min_size)
    best = large[np.argsort(-scores[large], kind="stable")[:pre_nms]]
    kept = best[nms(boxes[best], scores[best], iou_threshold=0.7, max_keep=post_nms)]
    return boxes[kept], scores[kept]


# === 9. Pictures of shapes ==================================== Library: minirpn/data/shapes.py ===
def draw_picture(rng):
    """Return an image (3, H, W) of numbers around 0, and gt_boxes (M, 4) of the shapes in it."""
    (H, W), gt_boxes = IMAGE_SIZE, np.zeros((0, 4), dtype=np.float32)
    image = rng.uniform(-0.6, 0.6, (3, H // 32, W // 32)).repeat(32, axis=1).repeat(32, axis=2)
    for _ in range(rng.integers(3, 9)):
        width, height = np.exp(rng.uniform(np.log(28), np.log(110), 2)).astype(int)
        x1, y1 = rng.integers(W - width), rng.integers(H - height)
        box = np.array([[x1, y1, x1 + width, y1 + height]], dtype=np.float32)
        if iou(box, gt_boxes).any():
            continue  # it would hide part of another shape
        gt_boxes = np.concatenate([gt_boxes, box])
        # The box reaches from -1 to 1. x and y (height, width) are the centers of its pixels.
        x, y = np.meshgrid(*((2 * np.arange(size) + 1) / size - 1 for size in (width, height)))
        rectangle, ellipse, triangle = abs(x) < 1, x**2 + y**2 < 1, 2 * abs(x) < 1 + y
        shape = (rectangle, ellipse, triangle, abs(x * y) < 0.1)[rng.integers(4)]  # or a star
        # Every channel is darker or lighter than the background can be.
        image[:, y1 : y1 + height, x1 : x1 + width][:, shape] = rng.choice([-1.5, 1.5], (3, 1))
    return (image + rng.normal(0, 0.2, image.shape)).astype(np.float32), gt_boxes


# === 10. Training =========================================== Library: minirpn/training/step.py ===
def train(anchors, steps, rng):
    """Return the parameters of a network that has learned from one new picture a step."""
    parameters = init_parameters(rng)
    velocity = {name: [0, 0] for name in parameters}
    losses = []
    for step in range(1, steps + 1):
        image, gt_boxes = draw_picture(rng)
        labels, matched_gt = label_anchors(anchors, gt_boxes, IMAGE_SIZE)
        labels = sample_minibatch(labels, rng)
        targets = encode(anchors, gt_boxes[matched_gt])  # the loss uses those of positives
        objectness, deltas, cache = network_forward(parameters, image)
        loss, loss_cache = rpn_loss_forward(objectness, deltas, labels, targets)
        grads = network_backward(*rpn_loss_backward(loss_cache), cache)
        sgd_step(parameters, velocity, grads, lr=0.03 if step <= 0.75 * steps else 0.003)
        losses.append(loss)
        if step % 100 == 0:
            print(f"step {step:4} of {steps}   loss {np.mean(losses[-100:]):.3f}", flush=True)
    return parameters


# === 11. Recall, and a picture ========================== Library: minirpn/evaluation/recall.py ===
def save_picture(path, image, gt_boxes, proposals):
    """Save an image (3, H, W) with its gt_boxes (M, 4), white, and proposals (R, 4), dashed."""
    from matplotlib.figure import Figure

    ax = Figure(figsize=(8, 6)).add_axes((0, 0, 1, 1))
    ax.imshow((image.transpose(1, 2, 0) / 4 + 0.5).clip(0, 1), extent=(0, 256, 192, 0))
    for boxes, style in ((gt_boxes, "w-"), (proposals, "k--")):
        for x1, y1, x2, y2 in boxes:
            ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], style, linewidth=2)
    ax.set_axis_off()
    ax.figure.savefig(path)


def main(steps=2000, seed=0):
    """Train, print the share of shapes that are found in new pictures, and draw one picture."""
    rng, found = np.random.default_rng(seed), []
    anchors = grid_anchors(base_anchors(), np.array(IMAGE_SIZE) // STRIDE).astype(np.float32)
    parameters = train(anchors, steps, rng)
    for _ in range(100):
        image, gt_boxes = draw_picture(rng)
        objectness, deltas, _ = network_forward(parameters, image)
        boxes, scores = propose(anchors, objectness, deltas, IMAGE_SIZE, post_nms=100)
        found.append(iou(boxes, gt_boxes).max(axis=0) >= 0.5)  # (R, M) -> (M,)
    print(f"recall {np.concatenate(found).mean():.3f} (100 new pictures, 100 proposals, IoU 0.5)")
    if find_spec("matplotlib"):
        best = nms(boxes, scores, iou_threshold=0.3, max_keep=len(gt_boxes))
        save_picture("rpn.png", image, gt_boxes, boxes[best])
        print("The best proposals in the last picture are drawn in rpn.png.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))  # python tutorials/rpn.py [steps [seed]]
