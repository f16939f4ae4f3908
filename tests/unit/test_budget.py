"""What reading one file may take is counted on the way."""

from __future__ import annotations

import pytest

from minirpn.budget import Budget, OverBudgetError, parse_json, values_in


def test_bytes_and_values_and_depth():
    budget = Budget(made=10, values=3, depth=2)
    budget.make(10)
    with pytest.raises(OverBudgetError, match="more bytes"):
        budget.make(1)
    budget.step(3)
    with pytest.raises(OverBudgetError, match="more values"):
        budget.step()
    budget.check_depth(2)
    with pytest.raises(OverBudgetError, match="deeper than 2"):
        budget.check_depth(3)


def test_seconds(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    budget = Budget(seconds=5)
    for _ in range(1000):
        budget.step()
    now[0] = 6.0
    with pytest.raises(OverBudgetError, match="longer than 5 s"):
        budget.step(1000)


def test_json_is_counted_before_it_is_parsed():
    assert parse_json(b'{"a": [1, 2]}') == {"a": [1, 2]}
    with pytest.raises(OverBudgetError, match="more values"):
        parse_json(b"[" + b"[]," * 2_000_000 + b"[]]")


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b"{]", b"\n\n{", b'{"a": 1e}'])
def test_what_is_no_json_is_one_line(content: bytes):
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        parse_json(content)


def test_json_nested_deep():
    with pytest.raises(OverBudgetError, match="nested too deep"):
        parse_json(b"[" * 100_000)


def test_json_nested_as_deep_as_the_budget():
    assert parse_json(b"[" * 50 + b"]" * 50)
    assert parse_json(b'"' + b"[" * 60 + b'"')
    for content in (b"[" * 51 + b"]" * 51, b'{"a":' * 51 + b"1" + b"}" * 51):
        with pytest.raises(OverBudgetError, match="deeper than 50"):
            parse_json(content)


def test_a_number_of_many_digits():
    with pytest.raises(ValueError, match="digits"):
        parse_json(b"9" * 5000)


def test_a_larger_file_may_hold_more_values_and_a_small_one_takes_little():
    assert values_in(0) == values_in(50_000_000) == 10_000_000
    assert values_in(60_000_000) == 12_000_000
    assert values_in(2**40) == 50_000_000
