"""The order of the head's outputs, and its inverse."""

import numpy as np
import pytest

from minirpn.rpn.head import RPNHead, anchor_map, anchor_rows


@pytest.mark.parametrize("values", [1, 2, 4])
def test_rows_are_ordered_by_row_column_and_base_anchor(values):
    N, A, Hf, Wf = 2, 3, 4, 5
    y = np.arange(N * A * values * Hf * Wf, dtype=np.float64).reshape(N, A * values, Hf, Wf)
    rows = anchor_rows(y, values)
    assert rows.shape == (N, Hf * Wf * A, values)
    for n, row, column, a, v in np.ndindex(N, Hf, Wf, A, values):
        k = (row * Wf + column) * A + a
        assert rows[n, k, v] == y[n, a * values + v, row, column]


def test_map_undoes_rows(world, rng):
    y = world.array(rng.normal(size=(2, 12, 3, 5)))
    np.testing.assert_array_equal(
        world.check(anchor_map(anchor_rows(y, 4), (3, 5))), world.check(y)
    )


def test_rows_is_the_adjoint_of_map(rng):
    # <rows(y), r> = <y, map(r)>: what makes anchor_map the right way back for gradients.
    y, rows = rng.normal(size=(1, 8, 3, 5)), rng.normal(size=(1, 30, 4))
    forward = float(np.sum(anchor_rows(y, 4) * rows))
    assert forward == pytest.approx(float(np.sum(y * anchor_map(rows, (3, 5)))))


@pytest.mark.parametrize(("classifier", "scores"), [("softmax", 2), ("logistic", 1)])
def test_output_shapes(rng, classifier, scores):
    head = RPNHead(6, 8, 9, classifier=classifier, rng=rng)
    output, _ = head.forward(rng.normal(size=(2, 6, 4, 7)).astype(np.float32))
    assert output.objectness.shape == (2, 4 * 7 * 9, scores)
    assert output.deltas.shape == (2, 4 * 7 * 9, 4)
    assert output.objectness.dtype == output.deltas.dtype == np.float32


def test_new_layers_are_drawn_with_deviation_001(rng):
    head = RPNHead(256, 256, 9, rng=rng)
    weights = [p.value for p in head.parameters() if p.name.endswith("weight")]
    biases = [p.value for p in head.parameters() if p.name.endswith("bias")]
    assert len(weights) == len(biases) == 3
    for weight in weights:
        assert weight.std() == pytest.approx(0.01, rel=0.05)
        assert abs(weight.mean()) < 1e-3
    assert all(not bias.any() for bias in biases)


def test_unknown_classifier_is_refused(rng):
    with pytest.raises(ValueError, match="softmax or logistic"):
        RPNHead(4, 4, 1, classifier="hinge", rng=rng)
