"""The figures of a file of predictions, as the report would give them: same parsers, same intervals, same key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.predictions import Checked, check
from personamem_pipeline.evaluation.predictions_file import read_predictions
from personamem_pipeline.evaluation.scoring.answers import AnswerKey, answer_key, answers
from personamem_pipeline.evaluation.scoring.rows import Rows
from personamem_pipeline.evaluation.scoring.runs import SystemRun
from personamem_pipeline.evaluation.scoring.slices import slice_groups, slices
from personamem_pipeline.evaluation.scoring.summary import leak_questions, summarize
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.store import sha256_file


def score_predictions(
    path: Path, source: Source, *, orders: int | None = None, partial: bool = False, resamples: int
) -> dict[str, Any]:
    """Score a file; the row of `systems` that a report would have, and the slices by type.

    With `partial` what lacks is left out of every figure, `partial` is True, and `answered` and `expected` say of how
    much: such a figure stands beside no other. Open answers are counted only, because only judges can score them.

    Raises:
        UserError: the file has faults (`predictions.check`), or holds open answers only.
    """
    checked = check(read_predictions(path), source.questions, path, orders=orders, partial=partial)
    if not checked.choices:
        raise UserError(
            f"all {len(checked.opened)} answers are open",
            where=path,
            expected="answers that pick one of the options",
            remedy="open answers are judged in a report: name the file in evaluation.systems of a preset, `open: true`",
        )
    key = _answered(answer_key(replace(source, orders=checked.orders)), checked)
    own = answers(path.stem, key, (row.reply for row in checked.choices))
    rows = Rows.of(own)
    run = SystemRun(path.stem, path.name, "external", "predictions", "", own)
    texts = {(name, order): asked.options for (name, order, _), asked in key.asked.items()}
    missing = sum(order is not None for _, order in checked.missing)
    return {
        "benchmark": Path(source.where).name,
        "seed": source.seed,
        "orders": checked.orders,
        "resamples": resamples,
        "file": {"name": path.name, "sha256": sha256_file(path)},
        "partial": bool(missing),
        "answered": len(own),
        "expected": len(own) + missing,
        "open_answers": len(checked.opened),
        "system": summarize(
            run,
            rows,
            texts=texts,
            leak_questions=leak_questions(source.questions),
            resamples=resamples,
            seed=source.seed,
        ),
        "types": slices(rows, slice_groups(rows))["type"],
        "types_missing": _lost_types(source, checked),
    }


def _answered(key: AnswerKey, checked: Checked) -> AnswerKey:
    """The key of what the file answers; a file has no answers before a request to forget."""
    here = {row.slot for row in checked.choices}
    return AnswerKey(
        labels=key.labels,
        asked={place: asked for place, asked in key.asked.items() if place[2] == "end" and place[:2] in here},
    )


def _lost_types(source: Source, checked: Checked) -> Mapping[str, int]:
    """How many answers of each type lack: a part is seldom a fair sample."""
    kinds = {question.question_id: question.pref_type for question in source.questions}
    lost = Counter(kinds[name] for name, order in checked.missing if order is not None)
    return dict(sorted(lost.items()))


def print_score(score: Mapping[str, Any], rejected: int = 0) -> None:
    """The figures as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if score["partial"]:
        console.print(
            f"[bold red]PARTIAL: {score['answered']:,} of {score['expected']:,} answers.[/] "
            "Not comparable with a whole run, nor with another part."
        )
        lost = ", ".join(f"{count:,} {kind}" for kind, count in score["types_missing"].items())
        console.print(Text(f"missing: {lost}"))
    own = score["system"]
    letters = " ".join(f"{letter} {_percent(share)}" for letter, share in own["letters_picked"].items())
    facts = [
        ("accuracy", _percent(own["accuracy"])),
        ("95 % interval, by person", _interval(own, "one person: none can be given")),
        ("lenient parser", _percent(own["accuracy_lenient"])),
        ("unparseable (wrong)", f"{own['unparseable']:,} of {own['n']:,}; {own['parsed_only_leniently']:,} leniently"),
        (
            "same option in every two orders",
            "one order only" if own["consistency"] is None else _percent(own["consistency"]),
        ),
        ("letters picked", letters or "none"),
        ("private data leaked", "not asked" if own["leak_rate"] is None else _percent(own["leak_rate"])),
        ("answers", f"{own['n']:,} to {own['questions']:,} questions of {own['persons']:,} persons"),
        ("option orders, seed", f"{score['orders']}, {score['seed']}"),
        ("benchmark", _printable(score["benchmark"])),
    ]
    if own["parsed_only_leniently"]:
        facts.append(
            ("read only leniently", r"the strict parser wants \boxed{c}, or the option's text as the last line")
        )
    if score["open_answers"]:
        facts.append(("open answers", f"{score['open_answers']:,}, not scored here: a report's judges read them"))
    if rejected:
        facts.append(("rows of the table that cannot be asked", f"{rejected:,}: `personamem released check` tells why"))
    table = Table(title=Text(_printable(score["file"]["name"])), title_justify="left", show_header=False)
    for _ in range(2):
        table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(value))  # texts from files are no markup
    console.print(table)
    console.print(_types(score["types"]))


def _types(types: Sequence[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(title="by type", title_justify="left")
    for name in ("type", "accuracy", "95 % interval", "questions"):
        table.add_column(name, justify="left" if name == "type" else "right", overflow="fold")
    for row in types:
        table.add_row(row["value"], _percent(row["accuracy"]), _interval(row, "-"), f"{row['questions']:,}")
    return table


def _printable(name: str) -> str:
    """A file's name without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(row: Mapping[str, Any], absent: str) -> str:
    return absent if row["low"] is None else f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %"
