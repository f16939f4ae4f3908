"""Layers, parameters, the optimizer and the schedule."""

import math

import numpy as np
import pytest

from minirpn import accel, nn
from minirpn.accel.implementation import numba_available


def net(rng, *, frozen=()):
    layers = [
        nn.Conv2d("c1", 3, 4, kernel=3, padding=1, rng=rng),
        nn.ReLU("r1"),
        nn.MaxPool2d("p1", kernel=2, stride=2, ceil_mode=True),
        nn.Fire("f2", 4, 2, 3, 5, rng=rng, std=None),
        nn.Conv2d("c3", 8, 2, kernel=1, rng=rng),
    ]
    for layer in layers:
        for parameter in layer.parameters():
            parameter.trainable = layer.name not in frozen
    return nn.Sequential("net", layers)


def test_names_sizes_and_windows(rng):
    network = net(rng)
    assert [p.name for p in network.parameters()] == [
        "c1.weight",
        "c1.bias",
        "f2.squeeze.weight",
        "f2.squeeze.bias",
        "f2.expand1x1.weight",
        "f2.expand1x1.bias",
        "f2.expand3x3.weight",
        "f2.expand3x3.bias",
        "c3.weight",
        "c3.bias",
    ]
    seen = []
    x = rng.normal(size=(1, 3, 9, 10)).astype(np.float32)
    y, _ = network.forward(x, observe=lambda name, y: seen.append((name, y.shape)))
    assert seen == [
        ("c1", (1, 4, 9, 10)),
        ("r1", (1, 4, 9, 10)),
        ("p1", (1, 4, 5, 5)),
        ("f2", (1, 8, 5, 5)),
        ("c3", (1, 2, 5, 5)),
    ]
    assert y.dtype == np.float32
    assert network.output_size((9, 10)) == (5, 5)
    assert [window.kernel[0] for window in network.windows()] == [3, 2, 1, 3, 1]
    assert network.windows()[1] == nn.Window((2, 2), (2, 2), (0, 0))


def test_a_relu_computed_with_its_convolution_is_the_same(rng):
    network = net(rng)
    x = rng.normal(size=(1, 3, 9, 10)).astype(np.float32)
    y, cache = network.forward(x)
    alone, cache_alone = network.forward(x, observe=lambda name, activation: None)
    np.testing.assert_array_equal(y, alone)
    _, grads = network.backward(np.ones_like(y), cache)
    _, expected = network.backward(np.ones_like(y), cache_alone)
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, expected[name])


def test_gradients_are_those_of_trainable_parameters(rng):
    network = net(rng, frozen=("c1", "c3"))
    x = rng.normal(size=(1, 3, 9, 10)).astype(np.float32)
    y, cache = network.forward(x)
    dx, grads = network.backward(np.ones_like(y), cache)
    assert dx.shape == x.shape
    assert set(grads) == {p.name for p in network.parameters() if p.trainable}
    assert all(name.startswith("f2.") for name in grads)


def test_nothing_is_kept_or_computed_below_the_first_trainable_layer(rng):
    network = net(rng, frozen=("c1",))
    x = rng.normal(size=(1, 3, 9, 10)).astype(np.float32)
    y, full = network.forward(x)
    _, kept = network.forward(x, need_dx=False)
    assert [cache is None for cache in kept] == [True, True, True, False, False]
    dx, grads = network.backward(np.ones_like(y), kept, need_dx=False)
    assert dx is None
    _, expected = network.backward(np.ones_like(y), full)
    assert set(grads) == set(expected)
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, expected[name])
    with pytest.raises(ValueError, match="need_dx: forward was called with need_dx=False"):
        network.backward(np.ones_like(y), kept)


def test_a_frozen_network_has_no_gradients(rng):
    network = net(rng, frozen=("c1", "f2", "c3"))
    y, cache = network.forward(np.zeros((1, 3, 9, 10), np.float32), need_dx=False)
    assert network.backward(np.ones_like(y), cache, need_dx=False) == (None, {})


def test_one_layer_serves_two_calls_at_once(rng):
    conv = nn.Conv2d("c", 2, 3, kernel=3, rng=rng)
    xs = rng.normal(size=(2, 1, 2, 5, 5)).astype(np.float32)
    (y, first), (_, second) = conv.forward(xs[0]), conv.forward(xs[1])
    ones = np.ones_like(y)
    apart = [conv.backward(ones, conv.forward(x)[1])[1]["c.weight"] for x in xs]
    np.testing.assert_array_equal(conv.backward(ones, first)[1]["c.weight"], apart[0])
    np.testing.assert_array_equal(conv.backward(ones, second)[1]["c.weight"], apart[1])


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(ValueError, match="have one name: r, r"):
        nn.Sequential("net", [nn.ReLU("r"), nn.ReLU("r")])


def test_first_values(rng):
    weight = nn.normal((200, 100), std=0.01, rng=rng)
    assert weight.dtype == np.float32
    assert np.std(weight) == pytest.approx(0.01, rel=0.03)
    # fan_in 50 * 3 * 3: std sqrt(2 / 450).
    assert np.std(nn.he_normal((40, 50, 3, 3), rng=rng)) == pytest.approx(
        (2 / 450) ** 0.5, rel=0.03
    )
    conv = nn.Conv2d("c", 50, 40, kernel=3, rng=rng, std=None, dtype=np.float64)
    assert np.std(conv.weight.value) == pytest.approx((2 / 450) ** 0.5, rel=0.03)
    assert conv.weight.value.dtype == conv.bias.value.dtype == np.float64
    assert not np.any(conv.bias.value)
    assert not np.any(nn.Linear("l", 3, 4).weight.value)


def test_one_step_of_each_rule_by_hand():
    for rule, first, second in (
        # v = 0.1 (1 + 0.5 * 2) = 0.2; then v = 0.5 * 0.2 + 0.01 (1 + 0.5 * 1.8) = 0.119
        ("caffe", 1.8, 1.8 - 0.119),
        # v = 2, w = 2 - 0.1 * 2; then v = 0.5 * 2 + 1.9 = 2.9, w = 1.8 - 0.01 * 2.9
        ("torch", 1.8, 1.8 - 0.029),
    ):
        weight = nn.Parameter("w", np.array([2.0]))
        optimizer = nn.SGD([weight], momentum=0.5, weight_decay=0.5, rule=rule)
        optimizer.step({"w": np.array([1.0])}, lr=0.1)
        assert weight.value.item() == pytest.approx(first)
        optimizer.step({"w": np.array([1.0])}, lr=0.01)
        assert weight.value.item() == pytest.approx(second)


def test_two_steps_of_adamw_by_hand():
    weight = nn.Parameter("w", np.array([2.0, -1.0]))
    optimizer = nn.AdamW([weight], betas=(0.5, 0.75), weight_decay=0.1)
    # The first step is the rate times the sign of the gradient, and times the decay of the value.
    optimizer.step({"w": np.array([3.0, -0.001])}, lr=0.1)
    np.testing.assert_allclose(weight.value, [2 - 0.1 * 1.2, -1 - 0.1 * -1.1], rtol=1e-5)
    # m = 0.5 * 1.5 + 0.5 * 1 = 1.25, s = 0.75 * 2.25 + 0.25 * 1 = 1.9375, t = 2
    first = weight.value[0]
    optimizer.step({"w": np.array([1.0, 0.0])}, lr=0.1)
    direction = (1.25 / 0.75) / math.sqrt(1.9375 / (1 - 0.75**2))
    assert weight.value[0] == pytest.approx(first - 0.1 * (direction + 0.1 * first))


def test_before_the_first_step_of_adamw_nothing_was_subtracted():
    weight = nn.Parameter("w", np.array([2.0, -1.0]))
    np.testing.assert_array_equal(nn.AdamW([weight]).last_step(weight, lr=0.1), [0, 0])


def test_adamw_stands_still_where_nothing_pulls():
    weight = nn.Parameter("w", np.array([2.0, -1.0]), decay_multiplier=0.0)
    nn.AdamW([weight]).step({"w": np.zeros(2)}, lr=0.1)
    np.testing.assert_array_equal(weight.value, [2, -1])


def test_squares_are_taken_with_velocities_or_not_at_all():
    optimizer = nn.AdamW([nn.Parameter("w", np.ones(2))])
    with pytest.raises(ValueError, match="squares: names that are on one side only: w"):
        optimizer.load_state({"w": np.ones(2)}, steps=0)
    assert not optimizer.velocity["w"].any()
    with pytest.raises(ValueError, match="squares: names that are on one side only: w"):
        nn.SGD(optimizer.parameters).load_state({"w": np.ones(2)}, {"w": np.ones(2)}, steps=0)


def test_multipliers_and_frozen_parameters():
    quick = nn.Parameter("quick", np.array([1.0]), lr_multiplier=2.0, decay_multiplier=0.0)
    frozen = nn.Parameter("frozen", np.array([1.0]), trainable=False)
    optimizer = nn.SGD([quick, frozen], momentum=0.9, weight_decay=0.5)
    optimizer.step({"quick": np.array([1.0]), "frozen": np.array([1.0])}, lr=0.1)
    assert quick.value.item() == pytest.approx(0.8)  # 1 - 0.1 * 2 * (1 + 0 * 1)
    assert frozen.value.item() == 1.0
    assert list(optimizer.velocity) == ["quick"]


def test_a_step_leaves_the_old_values_alone(rng):
    value, grad = rng.normal(size=5), rng.normal(size=5)
    value.setflags(write=False)
    grad.setflags(write=False)
    weight = nn.Parameter("w", value)
    nn.SGD([weight]).step({"w": grad}, lr=0.1)
    assert weight.value is not value


@pytest.mark.parametrize("rule", ["caffe", "torch"])
def test_the_last_step_is_what_was_taken(rule, rng):
    parameter = nn.Parameter("w", rng.normal(size=(3, 2)), lr_multiplier=2.0)
    optimizer = nn.SGD([parameter], rule=rule)
    for lr in (0.1, 0.03):
        before = parameter.value
        optimizer.step({"w": rng.normal(size=(3, 2))}, lr=lr)
        taken = optimizer.last_step(parameter, lr=lr)
        np.testing.assert_allclose(before - parameter.value, taken, rtol=1e-12, atol=1e-14)


def test_bad_gradients_are_refused_before_anything_moves():
    first, second = nn.Parameter("a", np.ones(2)), nn.Parameter("b", np.ones(2))
    optimizer = nn.SGD([first, second])
    with pytest.raises(ValueError, match="grads: none for the parameter 'b'"):
        optimizer.step({"a": np.ones(2)}, lr=1.0)
    with pytest.raises(ValueError, match=r"grads\['b'\]: expected shape \(2\)"):
        optimizer.step({"a": np.ones(2), "b": np.ones(3)}, lr=1.0)
    np.testing.assert_array_equal(first.value, [1, 1])
    with pytest.raises(ValueError, match="two are called 'a'"):
        nn.SGD([first, first])
    with pytest.raises(ValueError, match="rule: expected one of caffe, torch, got 'adam'"):
        nn.SGD([first], rule="adam")


def test_training_goes_on_from_saved_velocities(rng):
    def run(optimizer, weight, steps):
        for step in steps:
            optimizer.step({"w": np.cos(weight.value + step)}, lr=0.1)

    whole = nn.Parameter("w", rng.normal(size=4).astype(np.float32))
    half = nn.Parameter("w", whole.value)
    optimizer, first = nn.SGD([whole]), nn.SGD([half])
    run(optimizer, whole, range(6))
    run(first, half, range(3))
    saved = {name: np.array(v) for name, v in first.velocity.items()}
    second = nn.SGD([half])
    second.load_state(saved, steps=0)
    run(second, half, range(3, 6))
    np.testing.assert_array_equal(saved["w"], first.velocity["w"])  # taken as a copy
    np.testing.assert_array_equal(half.value, whole.value)
    with pytest.raises(ValueError, match=r"velocity\['w'\]: expected shape \(4\)"):
        second.load_state({"w": np.zeros(3)}, steps=0)
    with pytest.raises(ValueError, match="on one side only: other, w"):
        second.load_state({"other": np.zeros(4)}, steps=0)


def test_a_velocity_lies_in_memory_as_its_value_does(rng):
    # With channels last, as a GPU may want them; a kernel walks through both in one order.
    value = np.ascontiguousarray(rng.normal(size=(4, 3, 3, 2))).transpose(0, 3, 1, 2)
    optimizer = nn.SGD([nn.Parameter("w", value)])
    assert optimizer.velocity["w"].strides == value.strides
    loaded = np.ascontiguousarray(rng.normal(size=value.shape))
    optimizer.load_state({"w": loaded}, steps=0)
    assert optimizer.velocity["w"].strides == value.strides
    np.testing.assert_array_equal(optimizer.velocity["w"], loaded)


def test_velocities_are_taken_all_or_none():
    optimizer = nn.SGD([nn.Parameter(name, np.ones(2)) for name in "ab"])
    with pytest.raises(ValueError, match=r"velocity\['b'\]: expected shape \(2\)"):
        optimizer.load_state({"a": np.ones(2), "b": np.ones(3)}, steps=0)
    assert not optimizer.velocity["a"].any()


def test_the_rate_drops_at_three_quarters():
    schedule = nn.StepSchedule(0.001, 80_000)
    assert [schedule.lr(step) for step in (0, 59_999, 60_000, 79_999)] == [
        0.001,
        0.001,
        0.0001,
        0.0001,
    ]
    assert nn.StepSchedule(1.0, 10, drop_at=1.0).lr(9) == 1.0
    assert nn.StepSchedule(1.0, 10, drop_at=0.0, drop_factor=0.5).lr(0) == 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_lr": 0.0}, "base_lr: expected a positive number"),
        ({"base_lr": float("nan")}, "base_lr"),
        ({"steps": 0}, "steps: expected at least 1"),
        ({"drop_at": 1.5}, "drop_at"),
        ({"drop_factor": -1.0}, "drop_factor"),
    ],
)
def test_a_senseless_schedule_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        nn.StepSchedule(**{"base_lr": 0.1, "steps": 10, **wrong})


def test_gradients_longer_than_the_limit_are_scaled_all_alike(world):
    grads = {"a": world.array(np.array([3.0, 0.0])), "b": world.array(np.array([[4.0]]))}
    clipped = nn.clip_gradients(grads, 2.5)  # 3, 4 -> 5: half of it
    np.testing.assert_allclose(world.check(clipped["a"]), [1.5, 0])
    np.testing.assert_allclose(world.check(clipped["b"]), [[2]])
    same = nn.clip_gradients(grads, 5.0)
    np.testing.assert_array_equal(world.check(same["b"]), [[4]])
    assert nn.clip_gradients({}, 1.0) == {}


def test_a_limit_must_be_positive():
    with pytest.raises(ValueError, match="max_norm"):
        nn.clip_gradients({"a": np.ones(2)}, 0.0)


@pytest.mark.skipif(not numba_available(), reason="numba is not installed")
@pytest.mark.parametrize("rule", ["caffe", "torch"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_step_equals_the_array_code_to_the_bit(rule, dtype, rng):
    # Two pieces and a rest; and an array that lies in another order.
    shapes = [(2, 2**17), (3, 5)]
    values, grads = ([rng.normal(size=shape).astype(dtype) for shape in shapes] for _ in range(2))
    values[1] = np.asfortranarray(values[1])
    found = []
    for name in ("array", "numba"):
        function = accel.operations()["sgd"].by_name[name].function
        velocities = [0.1 * np.abs(value) for value in values]
        new, _ = function(values, velocities, grads, [0.01, 0.02], [5e-4, 0], 0.9, rule)
        found.append([*new, *velocities])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
