"""The questions that the page shows one by one: what was asked, what the history said, what each system made of it.

Bounded in size: texts are clipped in the middle, of a long chunk only the messages with evidence are kept (the whole chats
of 128k tokens are in the benchmark), and of a memory that is rewritten chunk by chunk only what changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from personamem_pipeline.evaluation.report.wording import clipped

OUTPUT, OPEN, EVIDENCE, REASON, LINE = 360, 700, 1200, 400, 1200
"""Characters kept of a reply, an open answer, a message, a judge's reason, a line of a chunk or memory."""
WHOLE_CHUNKS = 6000
"""Characters up to which all chunks of a person are shown whole."""
Row = Mapping[str, Any]


def question_view(question: Row, systems: Sequence[Row], number: int, memory: int | None) -> dict[str, Any]:
    """One row of `shown` as the page shows it; options are named by their number, as orders differ."""
    wrong = list(question["wrong"])
    asked = [system for system in systems if system["name"] in question["answers"]]
    rows, opened = [], []
    for system in asked:
        own = question["answers"][system["name"]]
        marks = [mark(picked, right, wrong) for picked, right in zip(own["picked"], own["correct"], strict=True)]
        rows.append({"system": system, "marks": marks, "output": clipped(own["output"] or "", OUTPUT)})
        if own.get("open_answer") is not None:
            verdicts = [{**v, "reason": clipped(v["reason"] or "", REASON)} for v in own.get("judgements") or []]
            opened.append({"system": system, "answer": clipped(own["open_answer"], OPEN), "judgements": verdicts})
    evidence = [{**turn, "content": clipped(turn["content"], EVIDENCE)} for turn in question["evidence"]]
    return {**question, "number": number, "rows": rows, "opened": opened, "evidence": evidence, "memory": memory}


def mark(picked: str | None, right: bool, wrong: Sequence[str]) -> dict[str, str]:
    """How one pick is shown: `kind` for its colour, `text` for its words."""
    if right:
        return {"kind": "yes", "text": "right"}
    if picked is None:
        return {"kind": "none", "text": "unparseable"}
    return {"kind": "no", "text": f"wrong {wrong.index(picked) + 1}" if picked in wrong else picked}


def index_row(view: Row) -> dict[str, Any]:
    """What the page's filter knows of a question: its type, and per system one sign per order."""
    signs = {"yes": "1", "no": "0", "none": "-"}
    return {
        "type": view["type"],
        "out": {row["system"]["name"]: "".join(signs[m["kind"]] for m in row["marks"]) for row in view["rows"]},
    }


def memory_view(person: str, number: int, memories: Row, systems: Sequence[Row], evidence: Sequence[str]) -> Row:
    """The memories of one person after each chunk. Systems that read the same chunks walk together.

    `evidence`: the messages that matter to the questions shown about this person; they are marked in the chunks.
    """
    walks: dict[tuple[tuple[str, ...], ...], list[Row]] = {}
    for system in systems:
        if steps := memories.get(system["name"]):
            walks.setdefault(tuple(tuple(step["chunk"]) for step in steps), []).append(system)
    return {
        "person": person,
        "number": number,
        "walks": [
            {
                "systems": own,
                "steps": _steps(chunks, {system["name"]: memories[system["name"]] for system in own}, own, evidence),
            }
            for chunks, own in walks.items()
        ],
    }


def _steps(
    chunks: Sequence[Sequence[str]],
    memories: Mapping[str, Sequence[Row]],
    systems: Sequence[Row],
    evidence: Sequence[str],
) -> list[dict[str, Any]]:
    whole = sum(len(line) for chunk in chunks for line in chunk) <= WHOLE_CHUNKS
    before = {name: list[str]() for name in memories}
    steps = []
    for place, chunk in enumerate(chunks):
        lines = [
            {"text": clipped(line, LINE), "evidence": any(text and text in line for text in evidence)} for line in chunk
        ]
        shown = [line for line in lines if whole or line["evidence"]]
        cells = []
        for system in systems:
            step = memories[system["name"]][place]
            after = [clipped(line, LINE) for line in step["memory"].split("\n") if line.strip()]
            cells.append({"system": system, "kept": step["kept"], "parts": changed(before[system["name"]], after)})
            before[system["name"]] = after
        steps.append({"number": place + 1, "lines": shown, "hidden": len(lines) - len(shown), "cells": cells})
    return steps


def changed(before: Sequence[str], after: Sequence[str]) -> list[dict[str, Any]]:
    """A memory as what a turn did to the one before: `same` (lines start to stop of it), `new` and `gone` lines.

    Put together in order, the same and the new lines are the memory after the turn.
    """
    parts: list[dict[str, Any]] = []
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append({"kind": "same", "start": a, "stop": b})
            continue
        parts += [{"kind": "gone", "text": line} for line in before[a:b]]
        parts += [{"kind": "new", "text": line} for line in after[c:d]]
    return parts
