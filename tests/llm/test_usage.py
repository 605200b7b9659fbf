"""What is counted, what it costs, where a budget stops it, and the line that tells people."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.progress import Meter, duration, short
from personamem_pipeline.llm.replies import Answer
from personamem_pipeline.llm.usage import Answered, Budget, Prices, Usage
from tests.llm.faults import GOOD, Reply, choices, endpoint, server, simulator

PRICES = {"price_input": 1000.0, "price_output": 5000.0}
REPLY = Reply(
    200,
    GOOD.text.replace('"prompt_tokens": 7, "completion_tokens": 2', '"prompt_tokens": 300, "completion_tokens": 100'),
)
"""400 tokens, $0.80."""


def test_dollars_are_counted_at_the_prices_and_unknown_without() -> None:
    with server(lambda request, headers: REPLY) as url:
        priced, unpriced = endpoint(url, **PRICES), endpoint(url)
        priced.map(choices(3))
        assert unpriced.usage.dollars == 0, "nothing was asked"
        unpriced.map(choices(3))
    assert priced.usage.dollars == pytest.approx(2.4)
    assert unpriced.usage.dollars is None


@pytest.mark.parametrize(
    ("budget", "bound"), [({"budget_tokens": 4000}, "4,000 tokens"), ({"budget_dollars": 8}, r"\$8")]
)
def test_a_budget_stops_cleanly_and_a_larger_one_goes_on(budget: dict[str, float], bound: str, tmp_path: Path) -> None:
    asked: list[int] = []

    def handle(request: object, headers: object) -> Reply:
        asked.append(1)
        return REPLY

    path = tmp_path / "llm.sqlite"
    with server(handle) as url:
        first = endpoint(url, cache=path, concurrency=3, **PRICES, **budget)
        with pytest.raises(UserError, match=bound) as raised:
            first.map(choices(30))
        done = len(asked)
        assert 8 <= done <= 10, "ten replies are allowed; the last are not sent together with others"
        text = str(raised.value)
        assert f"{done} of these 30 rows are answered" in text
        assert f"{done} calls and {400 * done:,} tokens (${0.8 * done:.4f}) spent" in text
        assert "PERSONAMEM_LLM_BUDGET_TOKENS" in text
        assert "goes on from there" in text
        larger = endpoint(url, cache=path, concurrency=3, budget_tokens=100_000, **PRICES)
        assert len(larger.map(choices(30))) == 30
        assert (larger.usage.cached, len(asked)) == (done, 30)


def test_a_budget_holds_for_all_that_share_it() -> None:
    with server(lambda request, headers: REPLY) as url:
        shared = Usage()
        endpoint(url, usage=shared, budget_tokens=4000, concurrency=1).map(choices(10))
        with pytest.raises(UserError, match="budget of 4,000 tokens"):
            endpoint(url, usage=shared, budget_tokens=4000, concurrency=1).map(choices(10))


def test_a_budget_that_cannot_be_kept_is_an_error() -> None:
    with pytest.raises(UserError, match=r"BUDGET_DOLLARS[^$]*PRICE_INPUT"):
        simulator(budget_dollars=1.0)
    silent = Reply(200, '{"choices": [{"message": {"content": "{\\"answer\\": \\"b\\"}"}}]}')
    with server(lambda request, headers: silent) as url:
        with pytest.raises(UserError, match="how many tokens"):
            endpoint(url, budget_tokens=1000).map(choices(2))
        assert len(endpoint(url).map(choices(2))) == 2
    unknown = Usage(dollars=None)
    assert "unknown" in Budget(dollars=1.0).exhausted(unknown, 0, b"", Prices(1, 1))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 50), st.integers(0, 2 * 10**6))
def test_a_token_budget_is_never_passed_by_what_is_allowed(calls: int, tokens: int, in_flight: int, bound: int) -> None:
    usage = Usage(calls=calls, prompt_tokens=tokens)
    if not Budget(tokens=bound).exhausted(usage, in_flight, b"x" * 40, None):
        mean = tokens / calls if calls else 20
        assert tokens + (in_flight + 1) * mean <= bound


def test_no_budget_is_never_used_up() -> None:
    assert Budget().exhausted(Usage(calls=10**9, prompt_tokens=10**15), 10**6, b"x", None) == ""


def test_what_was_answered_can_be_told_for_a_part_of_a_run() -> None:
    usage = Usage()
    before = usage.answered()
    usage.add(Answer("x", "", "stop", 5, 2), None)
    usage.add_cached(Answer("x", "", "stop", None, None))
    assert usage.answered() - before == Answered(2, 5, 2)


def test_the_line_for_people() -> None:
    now = 0.0
    usage = Usage(dollars=None)
    meter = Meter(usage, lambda: now)
    assert meter.line(0, 10) == "0/10 rows, 0.0/s, ETA unknown, 0 calls, 0 tokens in, 0 out"
    usage.calls, usage.retries, usage.cached, usage.refused = 1240, 3, 400, 2
    usage.prompt_tokens, usage.completion_tokens, usage.dollars = 310_000, 95_000, 1.234
    now = 40.0
    assert meter.line(1200, 4000) == (
        "1,200/4,000 rows, 2 refused, 30.0/s, ETA 1m33s, 1,240 calls (3 retried, 400 cached), 310k tokens in, 95k out, "
        "$1.23"
    )


def test_the_rate_forgets_what_the_cache_gave_at_the_start() -> None:
    now = 0.0
    meter = Meter(Usage(), lambda: now)
    now = 1.0
    meter.line(10_000, 20_000)
    for _ in range(40):
        now += 10
        line = meter.line(10_000 + int(now), 20_000)
    assert " 1.0/s" in line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.4, "59s"), (80, "1m20s"), (3599, "59m59s"), (7500, "2h05m"), (273_600, "3d04h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (9_999, "9,999"), (95_400, "95k"), (3_140_000, "3.1M")])
def test_short_counts(count: int, text: str) -> None:
    assert short(count) == text
