"""What asking has cost, and what it may cost: counts, prices and budgets. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.replies import Answer

PER = 1_000_000
"""Prices are in dollars per million tokens, as providers state them."""
CHARACTERS_PER_TOKEN = 4
"""For a guess at a request's size before anything has been measured; English text in OpenAI's tokenizers has about four
(https://platform.openai.com/tokenizer)."""


@dataclass(frozen=True)
class Prices:
    """Dollars per million tokens."""

    input: float
    output: float

    def dollars(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (prompt_tokens * self.input + completion_tokens * self.output) / PER


@dataclass(frozen=True)
class Answered:
    """What requests were answered with, now or out of the cache: the same for a run and its re-run."""

    answers: int
    prompt_tokens: int
    completion_tokens: int

    def __sub__(self, earlier: Answered) -> Answered:
        return Answered(
            self.answers - earlier.answers,
            self.prompt_tokens - earlier.prompt_tokens,
            self.completion_tokens - earlier.completion_tokens,
        )


@dataclass
class Usage:
    """What has been asked since it was made, of one endpoint or of several that share it."""

    calls: int = 0
    """Responses that the server answered with a completion, repairs included, those from the cache not."""
    cached: int = 0
    """Answers that the cache gave instead."""
    retries: int = 0
    """Requests sent once more, because the server failed or asked to wait."""
    wasted: int = 0
    """Calls whose answer was no record."""
    refused: int = 0
    """Rows that got no record."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = 0.0
    """None: unknown, because a call was made of which no price is set."""
    cached_prompt_tokens: int = 0
    cached_completion_tokens: int = 0
    """What the cached answers took when they were paid for."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def answered(self) -> Answered:
        """All answers so far, paid for now or earlier."""
        return Answered(
            self.calls + self.cached,
            self.prompt_tokens + self.cached_prompt_tokens,
            self.completion_tokens + self.cached_completion_tokens,
        )

    def add_cached(self, answer: Answer) -> None:
        """Count one answer that the cache gave."""
        self.cached += 1
        self.cached_prompt_tokens += answer.prompt_tokens or 0
        self.cached_completion_tokens += answer.completion_tokens or 0

    def add(self, answer: Answer, prices: Prices | None) -> None:
        """Count one call."""
        prompt, completion = answer.prompt_tokens or 0, answer.completion_tokens or 0
        self.calls += 1
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        if self.dollars is not None:
            self.dollars = None if prices is None else self.dollars + prices.dollars(prompt, completion)


@dataclass(frozen=True)
class Budget:
    """Upper bounds for one `Usage`; None: no bound."""

    tokens: int | None = None
    dollars: float | None = None
    variables: str = "PERSONAMEM_LLM"
    """What the variables of the endpoint's prices begin with."""

    def check(self, prices: Prices | None) -> None:
        """Raises `UserError` for a bound that could not be kept."""
        if self.dollars is not None and prices is None:
            raise UserError(
                "a budget in dollars needs prices",
                where="PERSONAMEM_LLM_BUDGET_DOLLARS",
                expected="the model's prices in dollars per million tokens",
                remedy=f"export {self.variables}_PRICE_INPUT=... {self.variables}_PRICE_OUTPUT=...",
            )

    def exhausted(self, usage: Usage, in_flight: int, body: bytes, prices: Prices | None) -> str:
        """Which bound the next request would pass, with those in flight; empty: none.

        What is not yet answered is reckoned at the mean of what was; before the first answer, from the length of the
        request, with as much again for the reply.
        """
        if self.tokens is None and self.dollars is None:
            return ""
        guess = len(body) / CHARACTERS_PER_TOKEN
        prompt = usage.prompt_tokens / usage.calls if usage.calls else guess
        completion = usage.completion_tokens / usage.calls if usage.calls else guess
        ahead = in_flight + 1
        if self.tokens is not None and usage.tokens + ahead * (prompt + completion) > self.tokens:
            return f"{self.tokens:,} tokens"
        if self.dollars is None:
            return ""
        if usage.dollars is None or prices is None:
            return f"${self.dollars:,.2f} (what was spent is unknown: a call was made of which no price is set)"
        spent = usage.dollars + ahead * prices.dollars(prompt, completion)
        return f"${self.dollars:,.2f}" if spent > self.dollars else ""
