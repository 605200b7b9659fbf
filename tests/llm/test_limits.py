"""The window as a state machine, the gate, and the waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.llm.limits import START, TOLERATED, Gate, Window, back_off, retry_after

OUTCOMES = st.lists(st.booleans(), max_size=300)


def play(window: Window, outcomes: list[bool]) -> list[float]:
    """Requests one after the other; the limit after each."""
    limits = []
    for good in outcomes:
        (window.answered if good else window.overloaded)(window.epoch)
        limits.append(window.limit)
    return limits


@given(st.integers(1, 200), OUTCOMES)
def test_the_window_stays_between_one_and_its_maximum(maximum: int, outcomes: list[bool]) -> None:
    window = Window(maximum)
    assert all(1 <= limit <= maximum for limit in play(window, outcomes))
    assert window.allowed >= 1


@given(st.integers(1, 200), OUTCOMES)
def test_answers_never_narrow_it_and_failures_never_widen_it(maximum: int, outcomes: list[bool]) -> None:
    window = Window(maximum)
    for good in outcomes:
        before = window.limit
        play(window, [good])
        assert window.limit >= before if good else window.limit <= before
        assert window.limit >= before / 2


@given(st.integers(1, 200), OUTCOMES, st.integers(1, 200))
def test_what_was_in_flight_together_narrows_it_at_most_once(maximum: int, outcomes: list[bool], together: int) -> None:
    window = Window(maximum)
    play(window, outcomes)
    epoch, before = window.epoch, window.limit
    for _ in range(together):
        window.overloaded(epoch)
    assert window.limit in (before, max(1.0, before / 2))
    assert window.epoch - epoch in (0, 1)


@given(st.integers(2, 200))
def test_failures_alone_bring_it_to_one_and_answers_to_its_maximum(maximum: int) -> None:
    window = Window(maximum)
    play(window, [False] * 1000)
    assert window.limit == 1
    play(window, [True] * (maximum * maximum))
    assert window.limit == maximum


def test_it_starts_slowly_and_doubles_until_it_first_narrows() -> None:
    window = Window(64)
    assert window.allowed == START
    play(window, [True] * START)
    assert window.allowed == 2 * START
    play(window, [False] * 10)
    narrowed = window.limit
    assert narrowed < 2 * START
    play(window, [True] * int(narrowed))
    assert narrowed < window.limit <= narrowed + 1, "then by one for each window of answers"


def test_a_few_failures_in_a_hundred_are_no_overload() -> None:
    window = Window(64, limit=64.0)
    play(window, ([True] * 19 + [False]) * 50)
    assert window.limit == 64
    play(window, ([True] * 3 + [False]) * 50)
    assert window.limit < 32, f"a quarter is more than {TOLERATED}"


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError):
        Window(0)


@given(st.integers(1, 20), st.integers(1, 60))
def test_the_gate_never_lets_more_in_than_allowed_and_everybody_in_the_end(maximum: int, requests: int) -> None:
    most = 0

    async def run() -> int:
        nonlocal most
        gate = Gate(Window(maximum), asyncio.get_running_loop().time)
        done = 0

        async def request(index: int) -> None:
            nonlocal most, done
            epoch = await gate.enter()
            most = max(most, gate.in_flight)
            await asyncio.sleep(0)
            (gate.window.overloaded if index % 3 == 0 else gate.window.answered)(epoch)
            gate.leave()
            done += 1

        await asyncio.gather(*(request(index) for index in range(requests)))
        assert gate.in_flight == 0
        return done

    assert asyncio.run(run()) == requests
    assert most <= maximum


def test_a_request_that_is_cancelled_while_it_waits_passes_its_turn_on() -> None:
    async def run() -> bool:
        gate = Gate(Window(1), asyncio.get_running_loop().time)
        await gate.enter()
        first, second = asyncio.ensure_future(gate.enter()), asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        gate.leave()
        first.cancel()
        await asyncio.wait_for(second, 1)
        return first.cancelled()

    assert asyncio.run(run())


@given(st.integers(1, 40), st.text(max_size=5))
def test_back_off_doubles_within_bounds_and_is_the_same_again(attempt: int, key: str) -> None:
    wait = back_off(attempt, 0, key)
    full = min(30.0, 0.25 * 2 ** (attempt - 1))
    assert full / 2 <= wait <= full
    assert wait == back_off(attempt, 0, key)


def test_rows_do_not_come_back_together() -> None:
    assert len({back_off(1, 0, f"row{index}") for index in range(100)}) == 100


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0), ("0.5", 0.5), (" 7 ", 7.0), ("-1", 0.0), ("soon", 0.0), ("", 0.0), ("nan", 0.0), ("inf", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0), ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_as_seconds_and_as_a_date(header: str, seconds: float) -> None:
    now = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)
    assert retry_after({"retry-after": header}, now) == seconds


def test_no_header_is_no_wait() -> None:
    assert retry_after({}) == 0
