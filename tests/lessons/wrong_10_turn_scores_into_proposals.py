"""Wrong answers to the exercises of chapter 10, as learners wrote them, and what must be said."""

import numpy as np

from minirpn import boxes, rpn


def answer(
    anchors,
    objectness,
    deltas,
    image_size,
    min_size,
    count,
    *,
    clip=True,
    large=lambda sides, least: np.all(sides >= least, axis=1),
    order=lambda scores: np.argsort(-scores, kind="stable"),
    top_first=False,
    clip_last=False,
):
    found = boxes.decode(anchors, deltas)
    if clip and not clip_last:
        found = boxes.clip(found, image_size)
    table = np.column_stack([found, rpn.object_scores(objectness)])
    if top_first:
        table = table[order(table[:, 4])][:count]
    table = table[large(table[:, 2:4] - table[:, :2], min_size)]
    table = table[order(table[:, 4])][:count]
    if clip_last:
        table[:, :4] = boxes.clip(table[:, :4], image_size)
    return table


def wrong(**options):
    return lambda *question: answer(*question, **options)


def clip_before_decode(anchors, objectness, deltas, image_size, min_size, count):
    anchors = boxes.clip(anchors, image_size)
    return answer(anchors, objectness, deltas, image_size, min_size, count, clip=False)


def clip_anchors_and_boxes(anchors, objectness, deltas, image_size, min_size, count):
    anchors = boxes.clip(anchors, image_size)
    return answer(anchors, objectness, deltas, image_size, min_size, count)


def with_logits(anchors, objectness, deltas, *rest):
    table = answer(anchors, objectness, deltas, *rest)
    chances = rpn.object_scores(objectness)
    table[:, 4] = [objectness[list(chances).index(chance), 1] for chance in table[:, 4]]
    return table


def without_scores(*question):
    return answer(*question)[:, :4]


def plain_nms(candidates, scores, iou_threshold, *, at_threshold=False, itself=False, order=None):
    order = np.argsort(-scores, kind="stable") if order is None else order(scores)
    overlaps = boxes.iou(candidates, candidates)
    kept = []
    for index in order:
        rivals = [*kept, index] if itself else kept
        over = overlaps[index, rivals]
        if not np.any(over >= iou_threshold if at_threshold else over > iou_threshold):
            kept.append(int(index))
    return kept


def nms(**options):
    return lambda candidates, scores, iou_threshold: plain_nms(
        candidates, scores, iou_threshold, **options
    )


def against_all_better(candidates, scores, iou_threshold):
    order = np.argsort(-scores, kind="stable")
    overlaps = boxes.iou(candidates, candidates)
    return [
        i for k, i in enumerate(order) if all(overlaps[i, j] <= iou_threshold for j in order[:k])
    ]


def against_the_last(candidates, scores, iou_threshold):
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        pair = candidates[kept[-1:]], candidates[index : index + 1]
        if not kept or boxes.iou(*pair)[0, 0] <= iou_threshold:
            kept.append(int(index))
    return kept


def threatened(candidates, scores, iou_threshold):
    order = np.argsort(-scores, kind="stable")
    ranked = candidates[order]
    return order, np.tril(boxes.iou(ranked, ranked) > iou_threshold, k=-1)


def one_round(candidates, scores, iou_threshold):
    order, threat = threatened(candidates, scores, iou_threshold)
    return order[~threat.any(axis=1)]


def never_back(candidates, scores, iou_threshold):
    order, threat = threatened(candidates, scores, iou_threshold)
    stays = np.ones(len(order), dtype=bool)
    for _ in range(len(order)):
        stays = stays & ~(threat & stays).any(axis=1)
    return order[stays]


def mask(candidates, scores, iou_threshold):
    order, threat = threatened(candidates, scores, iou_threshold)
    stays = np.ones(len(order), dtype=bool)
    for _ in range(len(order)):
        stays = ~(threat & stays).any(axis=1)
    return stays


def places(candidates, scores, iou_threshold):
    return np.flatnonzero(mask(candidates, scores, iou_threshold))


WRONG = {
    "my_candidates": [
        (clip_before_decode, "Clip the decoded boxes, not the anchors"),
        (clip_anchors_and_boxes, "not the anchors before"),
        (wrong(clip=False), "Where do you clip"),
        (wrong(clip_last=True), "Measure the sides after clipping"),
        (wrong(large=lambda sides, least: np.all(sides > least, axis=1)), ">=, not >"),
        (wrong(large=lambda sides, least: np.any(sides >= least, axis=1)), "Both sides"),
        (wrong(large=lambda sides, least: np.prod(sides, axis=1) >= least), "not an area"),
        (wrong(large=lambda sides, least: np.ones(len(sides), bool)), "Where do you drop"),
        (wrong(order=np.argsort), "sort by -scores"),
        (wrong(order=lambda s: np.argsort(s, kind="stable")[::-1]), "Of equal scores"),
        (wrong(top_first=True), "before you take the best"),
        (with_logits, "gives probabilities"),
        (without_scores, "expected (3, 5)"),
    ],
    "my_nms": [
        (nms(at_threshold=True), "use >, not >="),
        (nms(itself=True), "Every box overlaps itself"),
        (nms(order=lambda scores: range(len(scores))), "Go by score, the best first"),
        (nms(order=np.argsort), "begin with the lowest"),
        (against_the_last, "not with the last one only"),
        (against_all_better, "A box that is gone suppresses nothing any more"),
    ],
    "my_fixpoint_nms": [
        (one_round, "One round is not enough"),
        (never_back, "One round is not enough"),
        (mask, "not whether each box stays"),
        (places, "give places in the input"),
    ],
}
