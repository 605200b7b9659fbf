"""The dataset card: what a gathered dataset is, who wrote it, and what that means. A README.md beside the rows.

Its head is the YAML that the Hugging Face hub and `datasets.load_dataset(DIRECTORY, "questions")` read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.records import History, Question

CARD = "README.md"
SIMULATOR = "simulator/"
_HEAD = """---
pretty_name: {kind}
language: [en]
configs:
- config_name: questions
  data_files: questions.parquet
- config_name: histories
  data_files: histories.parquet
---
"""
_RULE_BASED = """
The rows were written by a rule-based **simulator**: a small closed world of topics, preferences and cues, and a grammar of
sentences. They are made to show and test a pipeline, not to measure language models. Its blind reader guesses by
construction, so the blind bound of these certificates proves the machinery, not the questions.
"""


def dataset_card(
    kind: str,
    histories: Sequence[History],
    questions: Sequence[Question],
    funnel: Mapping[str, Any],
    balance: Mapping[str, Mapping[str, int]],
) -> str:
    """The card's Markdown; the same rows give the same text."""
    authors = sorted({question.author for question in questions})
    readers = sorted({question.certificate.reader for question in questions})
    longest = max((history.tokens for history in histories), default=0)
    counters = ", ".join(sorted({history.tokenizer for history in histories}))
    refused = ", ".join(f"{count} for `{reason}`" for reason, count in funnel["refused"].items()) or "none"
    lines = [
        _HEAD.format(kind=kind),
        f"# {kind}",
        "",
        f"{len(questions)} questions about {len(histories)} simulated persons, each person with one chat history of up to "
        f"{longest} tokens (counted by `{counters}`). Preferences are revealed in passing and never stated.",
        "",
        f"- Author: {_named(authors)}. Reader of the certificates: {_named(readers)}.",
        f"- Written: {funnel['written']}; refused: {refused}; admitted: {funnel['admitted']}.",
        f"- The right option is the longest in {funnel['right_is_longest']:.1%} of the questions and the shortest in "
        f"{funnel['right_is_shortest']:.1%}.",
        "- No person, no revealing turn and no combination of query and preference is in both the training dataset and the "
        "benchmark (a blocking check).",
    ]
    if any(author.startswith(SIMULATOR) for author in authors):
        lines.append(_RULE_BASED.rstrip())
    for column, counts in balance.items():
        lines += ["", f"| `{column}` | questions |", "| --- | ---: |"]
        lines += [f"| {value} | {count} |" for value, count in counts.items()]
    return "\n".join(lines) + "\n"


def _named(models: Sequence[str]) -> str:
    return ", ".join(f"`{model}`" for model in models) or "nobody"
