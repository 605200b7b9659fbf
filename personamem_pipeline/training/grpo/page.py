"""`rollouts.html`: the rollout table as one page that needs nothing else, with what each turn changed in the memory marked.

It looks like the viewer of questions and is closed in the same way: texts that models wrote reach the page as JSON and as
text nodes, never as markup, and a content security policy names the only script and style that may run. A long run keeps
more than anybody reads, so the page shows steps spread evenly over the run; the JSON lines hold all.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
from markupsafe import Markup

from personamem_pipeline.questions.viewer import embedded, policy_digest
from personamem_pipeline.training.step_lines import Row, read_lines

MOST_STEPS = 60
"""Steps on a page: at the published scale (7 memories of some 900 tokens a rollout, two rollouts a step) up to 9 MB."""


def write_page(table: Path, target: Path, *, most: int = MOST_STEPS) -> None:
    """Write the page of a rollout table's JSON lines to `target`: whole or not at all, the same bytes for the same lines."""
    steps = list(dict.fromkeys(row["step"] for _, row in read_lines(table)))
    shown: dict[int, list[Row]] = {step: [] for step in spread(steps, most)}
    for _, row in read_lines(table):
        if row["step"] in shown:
            shown[row["step"]].append(row)
    blocks = [step_block(rows) for rows in shown.values()]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("personamem_pipeline.training.grpo", "templates"),
                jinja2.PackageLoader("personamem_pipeline.questions", "templates"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _joined(environment, "viewer.css.j2", "rollouts.css.j2")
    script = '"use strict";\n' + _joined(environment, "viewer_parts.js.j2", "rollouts.js.j2")
    page = environment.get_template("rollouts.html.j2").render(
        blocks=[embedded(block) for block in blocks],
        index=embedded([{"step": block["step"], "rewards": _rewards(block)} for block in blocks]),
        all_steps=len(steps),
        table=table.name,
        style=Markup(style),
        style_digest=policy_digest(style),
        script=Markup(script),
        script_digest=policy_digest(script),
    )
    scratch = target.with_name(f".{target.name}.partial")  # nobody opens half a page
    scratch.write_text(page, encoding="utf-8", newline="\n")
    scratch.replace(target)


def spread(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` (two or more) of the steps, evenly spread, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def step_block(rows: Sequence[Row]) -> dict[str, Any]:
    """What the page knows of a step: its rollouts, each with its rows; write rows say what they changed in the memory."""
    rollouts = []
    for number, own in groupby(rows, key=lambda row: int(row["rollout"])):
        turns = list(own)
        totals = [row["total"] for row in turns if row["kind"] == "answer" and row["total"] is not None]
        rollouts.append(
            {
                "rollout": number,
                "person": turns[0]["person"],
                "reward": fmean(totals) if totals else None,
                "rows": _with_changes(turns),
            }
        )
    return {"step": rows[0]["step"], "rollouts": rollouts}


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """(mark, line) of the memory after a turn: `+` is new, `-` stood there before, a blank was kept.

    A line that only moved was kept (as `watch.memory_change` counts it); one that is gone is shown where it stood.
    """
    old, new = before.splitlines(), after.splitlines()
    known, left = set(old), set(new)
    out: list[tuple[str, str]] = []
    for _, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if old[a:b] != new[c:d]:
            out += [("-", line) for line in old[a:b] if line not in left]
        out += [(" " if line in known else "+", line) for line in new[c:d]]
    return out


def _with_changes(rows: Sequence[Row]) -> list[Row]:
    """The rows with `lines` for the memory: each memory once on the page, also where the reply is the same text."""
    before, out = "", []
    for row in rows:
        shown = dict(row)
        if row["kind"] == "write":
            after = shown.pop("memory")
            shown |= {"lines": changed_lines(before, after), "reply": None if row["reply"] == after else row["reply"]}
            before = after
        out.append(shown)
    return out


def _rewards(block: dict[str, Any]) -> list[float]:
    return [rollout["reward"] for rollout in block["rollouts"] if rollout["reward"] is not None]


def _joined(environment: jinja2.Environment, *names: str) -> str:
    return "\n".join(environment.get_template(name).render() for name in names)
