"""What holds of every training: the optimizers by their formulas, multipliers, the schedule."""

import copy
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, nn

RNGS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
RULES = st.sampled_from(["caffe", "torch"])
MULTIPLIERS = st.sampled_from([0.0, 0.5, 1.0, 2.0])
RATES = st.lists(st.sampled_from([0.1, 0.01, 0.001]), min_size=1, max_size=4)


@st.composite
def parameters(draw):
    """Draw parameters of any shape and multipliers; some of them frozen."""
    rng = draw(RNGS)
    return [
        nn.Parameter(
            f"p{n}",
            rng.normal(size=draw(st.sampled_from([(), (3,), (2, 3), (2, 1, 3, 3)]))),
            lr_multiplier=draw(MULTIPLIERS),
            decay_multiplier=draw(MULTIPLIERS),
            trainable=draw(st.sampled_from([True, True, False])),
        )
        for n in range(draw(st.integers(0, 4)))
    ]


@given(parameters(), RNGS, RULES, RATES, st.sampled_from([0.0, 0.0005, 0.3]), st.booleans())
def test_a_step_follows_the_formula(close, moved, rng, rule, rates, decay, in_place):
    expected = {p.name: (np.copy(p.value), np.zeros_like(p.value)) for p in moved}
    arrays = {p.name: p.value for p in moved}
    optimizer = nn.SGD(moved, momentum=0.7, weight_decay=decay, rule=rule, in_place=in_place)
    for lr in rates:
        grads = {p.name: np.asarray(rng.normal(size=p.value.shape)) for p in moved}
        optimizer.step(grads, lr=lr)
        for p in moved:
            w, v = expected[p.name]
            change = grads[p.name] + decay * p.decay_multiplier * w
            rate = lr * p.lr_multiplier
            v = 0.7 * v + (rate * change if rule == "caffe" else change)
            step = v if rule == "caffe" else rate * v
            if p.trainable:
                expected[p.name] = w - step, v
                close(optimizer.last_step(p, lr=lr), step)
    for p in moved:
        w, v = expected[p.name]
        close(p.value, w)
        assert (p.name in optimizer.velocity) == p.trainable
        if p.trainable:
            close(optimizer.velocity[p.name], v)
        assert (p.value is arrays[p.name]) == (in_place or not p.trainable)


@given(parameters(), RNGS, RATES, st.sampled_from([0.0, 0.01, 0.3]), st.booleans())
def test_a_step_of_adamw_follows_the_formula(close, moved, rng, rates, decay, in_place):
    expected = {p.name: (np.copy(p.value), *np.zeros((2, *p.value.shape))) for p in moved}
    arrays = {p.name: p.value for p in moved}
    optimizer = nn.AdamW(moved, betas=(0.8, 0.9), weight_decay=decay, in_place=in_place)
    for t, lr in enumerate(rates, 1):
        grads = {p.name: np.asarray(rng.normal(size=p.value.shape)) for p in moved}
        optimizer.step(grads, lr=lr)
        for p in (p for p in moved if p.trainable):
            w, m, s = expected[p.name]
            m = 0.8 * m + 0.2 * grads[p.name]
            s = 0.9 * s + 0.1 * grads[p.name] ** 2
            direction = (m / (1 - 0.8**t)) / (np.sqrt(s / (1 - 0.9**t)) + 1e-8)
            step = lr * p.lr_multiplier * (direction + decay * p.decay_multiplier * w)
            expected[p.name] = w - step, m, s
            close(optimizer.last_step(p, lr=lr), step)
    for p in moved:
        w, m, s = expected[p.name]
        close(p.value, w)
        assert (p.name in optimizer.velocity) == (p.name in optimizer.squares) == p.trainable
        if p.trainable:
            close(optimizer.velocity[p.name], m)
            close(optimizer.squares[p.name], s)
        assert (p.value is arrays[p.name]) == (in_place or not p.trainable)


@given(parameters(), RNGS, RATES, st.sampled_from([0.001, 8.0, 1e4]))
def test_adamw_goes_as_far_however_steep_it_is(close, moved, rng, rates, factor):
    # Where nothing decays and no gradient is near 0, longer gradients change nothing.
    others = [nn.Parameter(p.name, np.copy(p.value), lr_multiplier=p.lr_multiplier) for p in moved]
    ones = [nn.Parameter(p.name, np.copy(p.value), lr_multiplier=p.lr_multiplier) for p in moved]
    one, other = (nn.AdamW(some, weight_decay=0.0, epsilon=0.0) for some in (ones, others))
    for lr in rates:
        grads = {p.name: rng.choice([-1, 1], p.value.shape) * rng.uniform(1, 2) for p in moved}
        one.step(grads, lr=lr)
        other.step({name: factor * grad for name, grad in grads.items()}, lr=lr)
    for a, b in zip(ones, others, strict=True):
        close(a.value, b.value)


@given(parameters(), RNGS, RATES)
def test_the_rules_are_equal_while_the_rate_is(close, moved, rng, rates):
    # With a rate of a power of two they are equal to the last bit, and otherwise but for rounding.
    twins = [nn.Parameter(p.name, np.copy(p.value), lr_multiplier=1.0) for p in moved]
    others = [nn.Parameter(p.name, np.copy(p.value), lr_multiplier=1.0) for p in moved]
    caffe, torch = nn.SGD(twins, rule="caffe"), nn.SGD(others, rule="torch")
    for _ in rates:
        grads = {p.name: np.asarray(rng.normal(size=p.value.shape)) for p in moved}
        caffe.step(grads, lr=rates[0])
        torch.step(grads, lr=rates[0])
    for one, other in zip(twins, others, strict=True):
        close(one.value, other.value)


OPTIMIZERS = st.sampled_from([nn.SGD, partial(nn.SGD, rule="torch"), nn.AdamW])


@given(parameters(), RNGS, OPTIMIZERS)
def test_a_training_that_goes_on_is_one_that_never_stopped(moved, rng, optimizer):
    grads = [{p.name: np.asarray(rng.normal(size=p.value.shape)) for p in moved} for _ in range(3)]
    whole = optimizer(moved)
    for step, some in enumerate(grads):
        if step == 2:
            copies = [
                nn.Parameter(
                    p.name,
                    np.copy(p.value),
                    lr_multiplier=p.lr_multiplier,
                    decay_multiplier=p.decay_multiplier,
                    trainable=p.trainable,
                )
                for p in moved
            ]
            later = optimizer(copies)
            kept = copy.deepcopy((whole.velocity, whole.squares))
            before = copy.deepcopy(kept)
            later.load_state(*kept, steps=whole.steps)
            later.step(some, lr=0.1)
            np.testing.assert_equal(kept, before)  # what was loaded was copied
        whole.step(some, lr=0.1)
    for one, other in zip(copies, moved, strict=True):
        np.testing.assert_array_equal(one.value, other.value)


@given(RNGS, st.sampled_from([0.5, 1.0, 3.0]), st.integers(0, 3))
def test_clipped_gradients_are_as_long_as_they_may_be(close, rng, max_norm, count):
    grads = {f"g{n}": rng.normal(size=(2, n + 1)) for n in range(count)}
    clipped = nn.clip_gradients(grads, max_norm)
    assert clipped.keys() == grads.keys()
    before, after = (
        math.sqrt(sum(float(np.sum(g * g)) for g in some.values())) for some in (grads, clipped)
    )
    close(np.array(after), min(before, max_norm))
    for name, grad in grads.items():
        close(clipped[name] * before, grad * after)
        if before <= max_norm:
            assert clipped[name] is grad


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["square_sums"])
@given(count=st.integers(1, 4), rng=RNGS)
def test_sums_of_squares_belong_to_their_arrays(close, implementation, count, rng):
    arrays = [rng.normal(size=(n + 1, 2)) for n in range(count)]
    with accel.use(implementation, "square_sums"):
        each = nn.optim.square_sums(arrays)
        together = nn.optim.square_sums(arrays, True)
    expected = [float(np.sum(array**2)) for array in arrays]
    close(each, expected)
    close(np.asarray(together), sum(expected))


@given(
    st.sampled_from([1e-3, 0.5]),
    st.integers(1, 200),
    st.sampled_from([0.0, 0.25, 0.75, 1.0]),
    st.sampled_from([0.1, 0.5]),
)
def test_the_rate_drops_once_and_where_it_should(base_lr, steps, drop_at, drop_factor):
    schedule = nn.StepSchedule(base_lr, steps, drop_at, drop_factor)
    rates = [schedule.lr(step) for step in range(steps)]
    before = sum(rate == base_lr for rate in rates)
    assert rates == [base_lr] * before + [base_lr * drop_factor] * (steps - before)
    assert before == round(drop_at * steps)


def test_the_schedule_as_published():
    schedule = nn.StepSchedule(0.001, 80_000)
    assert [schedule.lr(step) for step in (0, 59_999, 60_000, 79_999)] == [0.001] * 2 + [0.0001] * 2
