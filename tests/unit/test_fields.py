"""Values of a file are what their check says, or one line names file, key and reason."""

import json
import math

import numpy as np
import pytest

from minirpn.budget import Budget
from minirpn.errors import InputError
from minirpn.fields import (
    Fields,
    array_of,
    choice,
    list_of,
    measured,
    number,
    object_of,
    optional,
    parsed,
    read_json,
    shown,
    table_of,
    text,
    whole,
)


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (whole(1, 3), 3, 3),
        (number(0, 1), 1, 1.0),
        (measured(0, 1), None, math.nan),
        (measured(0, 1), 0.5, 0.5),
        (text(3), "abc", "abc"),
        (choice("a", 1), 1, 1),
        (optional(whole()), None, None),
        (list_of(whole()), [], []),
        (list_of(list_of(measured(), 2), 1), [[1, 0]], [[1.0, 0.0]]),
        (list_of(text(), most=1), ["a"], ["a"]),
        (table_of(whole(), 1), {"a": 1}, {"a": 1}),
        (
            object_of(a=whole(), b=optional(text())),
            {"a": 1, "b": None, "c": []},
            {"a": 1, "b": None},
        ),
    ],
)
def test_what_fits_comes_back(check, value, expected):
    np.testing.assert_equal(check(value, "file"), expected)


@pytest.mark.parametrize(
    ("check", "value", "reason"),
    [
        (whole(1, 3), 4, "file: expected a whole number from 1 to 3, got 4"),
        (whole(), True, "file: expected a whole number from 0 to 1000000000000, got True"),
        (whole(), 1.0, "file: expected a whole number from 0 to 1000000000000, got 1.0"),
        (whole(), 10**4000, "got a number of 13288 bits"),
        (number(0, 1), False, "file: expected a number from 0 to 1, got False"),
        (number(0, 1), math.nan, "file: expected a number from 0 to 1, got nan"),
        (number(0, 1), 10**400, "got a number of 1329 bits"),
        (number(), math.inf, "file: expected a number from -1e+200 to 1e+200, got inf"),
        (number(0, 1), None, "file: expected a number from 0 to 1, got None"),
        (measured(0, 1), 2, "file: expected a number from 0 to 1, got 2"),
        (text(3), "abcd", "file: expected a text of at most 3 characters, got 'abcd'"),
        (text(3), 3, "file: expected a text of at most 3 characters, got 3"),
        (choice("a", 1), True, "file: expected 'a' or 1, got True"),
        (choice("a"), ["a"], "file: expected 'a', got ['a']"),
        (list_of(whole()), {}, "file: expected a list, got {}"),
        (list_of(whole()), [0, "a"], "file: 2: expected a whole number"),
        (list_of(whole(), 2), [0], "file: expected 2 values, got 1"),
        (list_of(whole(), most=1), [0, 1], "file: expected at most 1 values, got 2"),
        (table_of(whole()), [], "file: expected an object, got []"),
        (table_of(whole()), {"a": "b"}, "file: a: expected a whole number"),
        (
            table_of(whole(), 1),
            {"ab": 1},
            "file: expected a text of at most 1 characters, got 'ab'",
        ),
        (object_of(a=whole()), {"b": 1}, "file: a: missing"),
        (Fields, 3, "file: expected an object, got 3"),
        (array_of(int, 0, 9), [1, 2, 10], "file: 3: expected a whole number from 0 to 9, got 10"),
        (array_of(int, 0, 9), [1, True], "file: 2: expected a whole number from 0 to 9, got True"),
        (array_of(float, 0, 9), [1, math.nan], "file: 2: expected a number from 0 to 9, got nan"),
        (array_of(float, 0, 9), 3, "file: expected a list, got 3"),
    ],
)
def test_what_does_not_fit_is_named(check, value, reason):
    with pytest.raises(InputError) as caught:
        check(value, "file")
    assert reason in str(caught.value)


def test_arrays():
    assert array_of(int, 0, 9)([1, 2], "file").dtype == np.int64
    assert array_of(float, 0, 9)([1, 0.5], "file").tolist() == [1.0, 0.5]
    assert array_of(float, 0, 9)([], "file").shape == (0,)


def test_an_object_of_known_keys():
    fields = Fields({"a": 1, "b": {"c": "x"}}, "file: line 3")
    assert "a" in fields
    assert fields.get("d", whole(), None) is None
    inner = fields.get("b", Fields)
    assert inner.get("c", text()) == "x"
    with pytest.raises(InputError, match=r"^file: line 3: b: c: expected a whole number"):
        inner.get("c", whole())
    with pytest.raises(InputError, match=r"^file: line 3: b: d: missing$"):
        inner.get("d", whole())
    with pytest.raises(InputError, match=r"^file: line 3: a, b: too few$"):
        raise fields.wrong("a, b: too few")


@pytest.mark.parametrize("value", ["x" * 10**6, [[[["x"]]]] * 10**5, {"a": [0] * 10**6}, 16**3000])
def test_what_was_got_is_said_in_few_words(value):
    assert len(shown(value)) < 200


def test_files(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [1]}))
    assert read_json(path) == {"a": [1]}
    with pytest.raises(InputError, match=r"a\.json: it holds more values than any"):
        read_json(path, Budget(values=2))
    path.write_bytes(b"[" * 10**5)
    with pytest.raises(InputError, match=r"a\.json: it is nested too deep$"):
        read_json(path)
    with pytest.raises(InputError, match="cannot read: it is a folder"):
        read_json(tmp_path)
    with pytest.raises(InputError, match=r"^here: not JSON: Expecting value"):
        parsed(b"", "here")
