"""The dataset card: what a gathered dataset is, who wrote it, what was left out, and what the rest measures.

A README.md beside the rows. Its head is the YAML by which the Hugging Face hub and `datasets.load_dataset(DIRECTORY,
"questions")` (or "histories", "rejected") read them; a table without rows is not named there, because `datasets` cannot
open one. The same rows give the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.questions.facts import QuestionFacts
from personamem_pipeline.questions.findings import Finding
from personamem_pipeline.questions.funnel import COST, funnel_table
from personamem_pipeline.questions.slices import Slices, slice_table
from personamem_pipeline.questions.tokens import Tokens, token_table

CARD = "README.md"
SIMULATOR = "simulator/"
_HEAD = """---
pretty_name: {kind}
language: [en]
license: {licence}
configs:
{configs}---
"""
_RULE_BASED = """\
The rows were written by a rule-based **simulator**: a small closed world of topics, preferences and cues, and a grammar of
sentences. They are made to show and test a pipeline, not to measure language models. Its readers are rules too, so the
accuracies of these certificates prove the machinery, not the questions."""
_UNCERTIFIED = """\
The rows were read from released files as they are: nobody certified them, and what they promise is their authors' word."""
_SLICES = """\
Means over the admitted questions; chance is 0.250. `blind` reads no history, `oracle` the evidence alone, `update` the
updating session alone, `swapped` other evidence; `implicitness` is the share of hinting turns that do not state the
preference. The columns after it pick an option by its shape without reading."""


def dataset_card(
    kind: str,
    *,
    questions: Sequence[QuestionFacts],
    persons: int,
    rejected: int,
    tokens: Tokens,
    funnel: Mapping[str, Any],
    slices: Slices,
    balance: Mapping[str, Mapping[str, int]],
    findings: Sequence[Finding],
    producers: Mapping[str, Sequence[Mapping[str, str]]],
    cost: Mapping[str, Mapping[str, int]],
    certified: bool = True,
) -> str:
    """The card's Markdown. `producers` and `cost` are what the manifests of the shards behind it say, by stage."""
    authors = sorted({question.author for question in questions})
    readers = sorted({reader for question in questions for reader in question.readers})
    ruled = [author.startswith(SIMULATOR) for author in authors]
    sections = [
        f"# {kind}\n\n{len(questions)} questions about {persons} simulated persons, each with one chat history. "
        + ("Preferences are revealed in passing and never stated.\n\n" if certified else f"{_UNCERTIFIED}\n\n")
        + f"Author: {_named(authors)}."
        + (f" Readers of the certificates: {_named(readers)}." if certified else "")
    ]
    sections += [_RULE_BASED] if any(ruled) else []
    sections += [
        f"## How it was made\n\n{_producers(producers)}",
        f"## Funnel\n\n{funnel['planned']} questions planned, {funnel['written']} written, {funnel['admitted']} admitted. "
        f"The {rejected} rows that were rejected on the way are in `rejected.parquet`.\n\n{funnel_table(funnel)}",
        f"## What it measures\n\n{_SLICES}\n\n{slice_table(slices)}",
        f"## Balance\n\n{_balance(balance)}",
        f"## Length\n\n{token_table(tokens.figures())}",
        "## Checks\n\n" + "\n".join(_check(finding) for finding in findings),
        f"## Cost\n\n{_cost(cost)}",
        f"## Licence\n\n{_licence(authors, certified)}",
    ]
    configs = "".join(
        f"- config_name: {name}\n  data_files: {name}.parquet\n"
        for name, rows in (("questions", len(questions)), ("histories", persons), ("rejected", rejected))
        if rows
    )
    licence = "apache-2.0" if authors and all(ruled) else "other"
    head = _HEAD.format(kind=kind, licence=licence, configs=configs)
    return head + "\n" + "\n\n".join(sections) + "\n"


def _named(models: Sequence[str]) -> str:
    return ", ".join(f"`{model}`" for model in models) or "nobody"


def _producers(producers: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """One row for each way in which a stage's shards were made; a code version covers its prompts and settings."""
    lines = ["| stage | code version (with prompts and settings) | author | readers | seed |", "| --- |" + " --- |" * 4]
    for name, makers in producers.items():
        for maker in makers:
            cells = map(maker.get, ("code_version", "author", "readers", "seed"))
            lines.append(f"| {name} | " + " | ".join(cell or "-" for cell in cells) + " |")
    return "\n".join(lines)


def _balance(balance: Mapping[str, Mapping[str, int]]) -> str:
    tables = []
    for column, counts in balance.items():
        rows = "\n".join(f"| {value} | {count} |" for value, count in counts.items())
        tables.append(f"| `{column}` | questions |\n| --- | ---: |\n{rows}".rstrip())
    return "\n\n".join(tables)


def _check(finding: Finding) -> str:
    """A line for each promise, with the offenders' number where there are any, and its plain figures."""
    plain = {name: len(value) if isinstance(value, list) else value for name, value in finding.facts.items()}
    figures = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in plain.items() if not isinstance(value, dict)
    )
    return f"- **{finding.name}**: {'holds' if finding.passed else 'DOES NOT HOLD'} ({figures})"


def _cost(cost: Mapping[str, Mapping[str, int]]) -> str:
    """Tokens, not money: prices change, and the same rows give the same card."""
    if not cost:
        return "No model was asked."
    rows = [f"| {name} | " + " | ".join(f"{asked[key]:,}" for key in COST) + " |" for name, asked in cost.items()]
    head = "Answers and their tokens, for the persons of both splits; the materializations say what they cost in money."
    return "\n".join(
        [head, "", "| stage | answers | tokens in | tokens out |", "| --- |" + " ---: |" * len(COST), *rows]
    )


def _licence(authors: Sequence[str], certified: bool) -> str:
    if not certified:
        return "That of the files which the rows were read from."
    ruled = [author for author in authors if author.startswith(SIMULATOR)]
    lines = [f"- Rows by {_named(ruled)}: Apache-2.0."] if ruled else []
    if others := [author for author in authors if author not in ruled]:
        lines.append(f"- Rows by {_named(others)}: the terms of the endpoint that served the model, for its output.")
    return "\n".join(lines) or "There are no rows."
