"""How long the histories of a dataset are, by the tokenizer that the preset names and by gpt-4o's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from personamem_pipeline.questions.facts import HistoryFacts


class Tokens:
    """Collects the token counts of histories that pass by."""

    def __init__(self) -> None:
        self._own: list[int] = []
        self._gpt4o: list[int] = []
        self._padding: list[int] = []
        self._tokenizers: Counter[str] = Counter()

    def add(self, history: HistoryFacts) -> None:
        """Count a history."""
        self._own.append(history.tokens)
        self._gpt4o.append(history.gpt4o_tokens)
        self._padding.append(history.padding_tokens)
        self._tokenizers[history.tokenizer] += 1

    def figures(self) -> dict[str, Any]:
        """Per counter: total, least, median, 95th percentile and most of a history. `gpt-4o` is None when a history was
        not counted with it."""
        counted = bool(self._gpt4o) and all(
            gpt4o > 0 or not own for gpt4o, own in zip(self._gpt4o, self._own, strict=True)
        )
        return {
            "tokenizers": sorted(self._tokenizers),
            "own": _spread(self._own),
            "gpt-4o": _spread(self._gpt4o) if counted else None,
            "padding": _spread(self._padding),
        }


def _spread(values: Sequence[int]) -> dict[str, int]:
    """The percentiles are values that occur: the least that at least that share of the histories does not exceed."""
    if not values:
        return {}
    order = sorted(values)
    ranks = {"min": 0, "median": _rank(len(order), 50), "p95": _rank(len(order), 95), "max": len(order) - 1}
    return {"total": sum(order), **{name: order[rank] for name, rank in ranks.items()}}


def _rank(size: int, percent: int) -> int:
    return -(-size * percent // 100) - 1


def token_table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    named = " or ".join(f"`{name}`" for name in figures["tokenizers"]) or "nothing"
    rows = {f"counted with {named}": figures["own"], "counted with gpt-4o's": figures["gpt-4o"],
            "of these padding": figures["padding"]}  # fmt: skip
    names = ("min", "median", "p95", "max", "total")
    lines = ["| tokens of a history | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for title, spread in rows.items():
        cells = [str(spread[name]) if spread else "-" for name in names]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
