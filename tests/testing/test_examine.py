"""How the kit asks: stages, odd arrays, forms, caches, what an error says and keeps."""

import numpy as np
import pytest
from hypothesis import strategies as st

from minirpn.testing import strategies
from minirpn.testing.check_equal import check_equal
from minirpn.testing.examine import (
    Asked,
    CheckError,
    Drawn,
    Exercise,
    Grown,
    examine,
)
from minirpn.testing.pairs import answers_of, by_name, examine_pair
from minirpn.testing.storage import copy_of, is_plain, plain_copy, storage
from minirpn.testing.words import apart, difference

DOUBLES = Exercise(
    answer=lambda x: 2 * x,
    stages=(Grown(lambda n: {"x": np.arange(n) / 4}, (1, 2, 64, 65, 200)),),
    probes=({"x": np.array([1.0, -1])},),
)


def refusal(function, exercise=DOUBLES, **options):
    with pytest.raises(CheckError) as caught:
        examine(function, exercise, **options)
    return caught.value


def test_a_grown_question_is_the_smallest_size_that_goes_wrong():
    def only_eighteen(x):
        return np.where(np.arange(len(x)) < 18, 2 * x, 0)

    assert len(refusal(only_eighteen).arguments["x"]) == 19
    assert examine(lambda x: x + x, DOUBLES).questions == 6


HELD = Exercise(
    answer=lambda x: 2 * x,
    stages=(
        Drawn(
            strategies.stored(
                st.integers(0, 3).map(lambda n: {"x": np.full((2, n), 3.0)}),
                ("x",),
                dtypes=(np.float64, np.float32, np.int32),
            )
        ),
    ),
    probes=({"x": np.ones((1, 2))},),
)


def test_odd_ways_to_hold_an_array_are_told_of():
    def by_memory(x):
        return 2 * np.reshape(x.ravel("K"), x.shape)

    turned = Exercise(
        answer=lambda x: 2 * x,
        stages=(Asked(({"x": np.arange(4.0).reshape(2, 2).T},)),),
        probes=({"x": np.ones((1, 2))},),
    )
    error = refusal(by_memory, turned)
    assert "(column by column)" in str(error)
    assert error.arguments["x"].flags.f_contiguous


def test_arrays_that_an_author_does_not_take_are_asked_plainly_and_named():
    def only_double(x):
        if x.dtype != np.float64:
            raise TypeError("double only")
        return 2 * x

    verdict = examine(only_double, HELD)
    assert verdict
    assert "raises for arrays that are float32" in repr(verdict)

    def never(x):
        raise TypeError("never")

    assert "(line " in str(refusal(never, HELD))


def test_a_copy_has_the_strides_of_the_original():
    for array in (np.arange(6.0).reshape(2, 3)[::-1, ::2], np.arange(6.0).reshape(2, 3).T):
        copy = copy_of(array)
        assert copy.strides == array.strides
        np.testing.assert_array_equal(copy, array)
        copy[0] = 7
        assert not np.array_equal(copy, array)
    frozen = np.zeros(2)
    frozen.setflags(write=False)
    assert not copy_of(frozen).flags.writeable
    assert storage(frozen) == "read-only"
    assert not is_plain(frozen)
    assert is_plain(plain_copy(frozen))


def test_an_error_keeps_the_counterexample_and_the_hint():
    hinted = Exercise(
        answer=lambda x: 2 * x,
        stages=DOUBLES.stages,
        probes=DOUBLES.probes,
        mistakes={"Twice, not squared.": lambda x: x * x},
    )
    error = refusal(lambda x: x**2, hinted)
    assert error.hint == "Twice, not squared."
    np.testing.assert_array_equal(error.arguments["x"], [0, 0.25])
    assert str(error) == (
        "<lambda>: Twice, not squared. For x = [0, 0.25]: at [1] yours gives 0.0625, expected 0.5"
    )


def test_a_message_is_short_however_large_the_question_and_however_long_the_error():
    large = {"x": np.arange(9000) + 0.5, "n": 3}
    exercise = Exercise(
        answer=lambda x, n: n * x,
        stages=(Asked(()),),
        probes=(large,),
        mistakes={"Times n, not plus n.": lambda x, n: x + n},
    )
    error = refusal(lambda x, n: x + n, exercise)
    assert str(error) == (
        "<lambda>: Times n, not plus n. For x = float64 (9000,), n = 3: "
        "at [0] yours gives 3.5, expected 1.5"
    )
    assert error.arguments["x"].shape == (9000,)

    def failing(x, n):
        raise RuntimeError("word " * 200)

    assert len(str(refusal(failing, exercise))) <= 200


def test_the_mistake_that_alone_explains_a_telling_counterexample_is_named():
    """Both parts of the answer are wrong; the first call shows one of them."""

    def both(x):
        return -x if x > 0 else 7.0

    mistakes = {"Did you forget the sign?": lambda x: -x, "Zero stays.": lambda x: x + (x == 0)}
    with pytest.raises(CheckError) as caught:
        check_equal(both, lambda x: x, (2.0,), (0.0,), mistakes=mistakes)
    assert caught.value.hint == "Did you forget the sign?"
    mistakes["Do not subtract it twice."] = lambda x: x - 2 * x
    with pytest.raises(CheckError) as caught:
        check_equal(both, lambda x: x, (2.0,), (0.0,), mistakes=mistakes)
    assert caught.value.hint == ""  # two could be meant


def test_an_option_is_named_under_which_the_function_is_right():
    half = Exercise(answer=lambda x: x / 2, stages=DOUBLES.stages, probes=DOUBLES.probes)

    def halve(x):
        return x * 0.5

    contracts = {
        "way='none'": lambda: examine(abs, half),
        "way='half'": lambda: examine(halve, half),
    }
    error = refusal(halve, contracts=contracts)
    assert str(error).endswith(
        ". With way='half' it is right: pass that to the check if you mean it."
    )


def test_lists_and_tensors_are_read():
    class Tensor:
        """As a tensor that wants a gradient, it is no array before it is detached."""

        def __init__(self, array):
            self.array = array

        def __array__(self, *args, **kwargs):
            raise RuntimeError("call detach")

        def detach(self):
            return self

        cpu = detach

        def numpy(self):
            return self.array

    empty = Exercise(
        answer=lambda x: np.zeros((0, len(x))),
        stages=(Asked(()),),
        probes=({"x": np.zeros(3)},),
    )
    assert examine(lambda x: [], empty)
    assert "has the shape (0,), expected (0, 3)" in str(refusal(lambda x: np.zeros(0), empty))
    assert examine(lambda x: Tensor(2 * x), DOUBLES)
    assert examine(lambda x: [Tensor(2 * v) for v in x], DOUBLES)


SQUARE = Exercise(
    answer=lambda x, dy: {"y": x * x, "dx": 2 * x * dy},
    stages=(Asked(({"x": np.array([1.0, 2]), "dy": np.array([1.0, 3])},)),),
    probes=({"x": np.array([3.0]), "dy": np.array([-1.0])},),
)


def examine_square(forward, backward=None):
    def both(x, dy):
        return answers_of(forward, x, backward, {"y": dy}, ("dx",))

    return examine_pair(forward, backward, both, SQUARE)


def square_refusal(forward, backward=None):
    with pytest.raises(CheckError) as caught:
        examine_square(forward, backward)
    return caught.value


def test_the_form_of_a_pair_is_the_kits_word():
    assert "yours returns an array from the forward, expected (y, cache)" in str(
        square_refusal(lambda x: x * x, lambda dy, cache: dy)
    )
    assert "yours returns 3 values from the forward, expected (y, cache)" in str(
        square_refusal(lambda x: (x * x, x, x), lambda dy, cache: dy)
    )
    assert "yours returns 2 values, expected dx" in str(
        square_refusal(lambda x: (x * x, x), lambda dy, x: (2 * x * dy, 0))
    )
    with pytest.raises(Exception, match=r"returns one value, expected \(dx, dw\)"):
        by_name(np.zeros(3), ("dx", "dw"))


def test_caches_are_apart_and_stay():
    shared = {}

    def forward(x):
        shared["x"] = x
        return x * x, shared

    assert "is the cache shared" in str(
        square_refusal(forward, lambda dy, cache: 2 * cache["x"] * dy)
    )

    def adding(dy, cache):
        cache["dx"] = cache.get("dx", 0) + 2 * cache["x"] * dy
        return cache["dx"]

    assert "a second backward gives another one" in str(
        square_refusal(lambda x: (x * x, {"x": x}), adding)
    )
    room = np.zeros(2)

    def in_one_place(x):
        y = room[: len(x)]
        y[:] = x * x * np.sign(x)
        return np.abs(y) if len(x) == 1 else y, x

    assert "another forward changes it" in str(
        square_refusal(in_one_place, lambda dy, x: 2 * x * dy)
    )


def test_a_cache_may_be_refused_once_it_was_used_and_not_before():
    def using_it_up(dy, cache):
        return 2 * cache.pop("x") * dy

    assert examine_square(lambda x: (x * x, {"x": x}), using_it_up)

    last = {}

    def forward(x):
        last.clear()
        last[id(x)] = x
        return x * x, id(x)

    assert "yours raises KeyError in a backward that follows other calls" in str(
        square_refusal(forward, lambda dy, key: 2 * last.pop(key) * dy)
    )


def test_a_forward_alone_is_shown_without_the_gradient():
    error = square_refusal(lambda x: x)
    assert list(error.arguments) == ["x"]
    assert "dy" not in str(error)


def test_numbers_are_told_apart():
    assert apart(1 / 3, 1 / 3 + 1e-7) == ("0.3333333", "0.3333334")
    assert difference(1 - 1e-7, 1.0) == "yours gives 0.9999999, expected 1"
    assert not difference(1 - 1e-9, 1.0)
    assert not difference(np.float64(1 - 1e-6), 1.0, single=True)


def test_a_notebook_shows_the_picture_once_and_the_message(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)

    class Axes:
        figure = "a picture"

    error = CheckError("wrong", arguments={"x": 1}, draw=lambda question: Axes)
    assert error._render_traceback_() == ["not yet: wrong"]
    assert error._render_traceback_() == ["not yet: wrong"]
    assert shown == ["a picture"]
    assert CheckError("wrong")._render_traceback_() == ["not yet: wrong"]


def test_answers_of_another_kind_are_named():
    assert "yours gives a dictionary, expected numbers" in str(refusal(lambda x: {"x": 2 * x}))
    assert "its rows are not equally long" in str(refusal(lambda x: [[1], [1, 2]]))
    assert "where numbers are expected" in str(refusal(lambda x: None))
    assert "yours gives None, where numbers are expected as dx" in str(
        square_refusal(lambda x: (x * x, x), lambda dy, x: None)
    )
    empty = Exercise(
        answer=lambda x: np.zeros((0, 4)), stages=(Asked(()),), probes=({"x": np.zeros(3)},)
    )
    assert examine(lambda x: (), empty)


def test_a_counterexample_is_a_copy():
    error = refusal(lambda x: x)
    error.arguments["x"] += 100
    np.testing.assert_array_equal(DOUBLES.probes[0]["x"], [1, -1])
    assert refusal(lambda x: x).arguments["x"].max() < 100


def hint_of(function, *mistakes):
    """Return the hint for a function that should be x * x: the place of a mistake."""
    exercise = Exercise(
        answer=lambda x: x * x,
        stages=(Asked(()),),
        probes=tuple({"x": np.float64(x)} for x in (1, 3, 5, -2)),
        mistakes={str(place): mistake for place, mistake in enumerate(mistakes)},
        telling=True,
    )
    return refusal(function, exercise).hint


def test_of_mistakes_that_explain_the_counterexample_the_one_that_explains_most_is_told():
    def one_and_another(x):
        return 2 * x if x < 4 else x

    def double(x):
        return 2 * x

    def two(x):
        return 2.0

    assert hint_of(one_and_another, two, double) == "1"
    assert hint_of(one_and_another, double, two) == "0"
    assert hint_of(one_and_another, lambda x: 0) == ""


def test_two_mistakes_that_explain_as_much_are_not_told():
    def two_on_the_left(x):
        return 2 * x if x < 4 else x

    def twice_and_less(x):
        return 2 * x if x < 4 else 0

    assert hint_of(two_on_the_left, lambda x: 2 * x, twice_and_less) == ""
