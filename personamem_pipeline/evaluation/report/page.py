"""The page's HTML: Jinja templates over `results.json`, closed to the network, the same bytes for the same results.

Models and judges wrote much of what it shows. All of it is escaped as text; the one script works on what is in the page
already and makes text nodes only; a content security policy names that script's digest and forbids every request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jinja2
from markupsafe import Markup

from personamem_pipeline.evaluation.report import view, wording
from personamem_pipeline.evaluation.report.drill import index_row, memory_view, question_view
from personamem_pipeline.evaluation.report.stacking import stacked
from personamem_pipeline.questions.viewer import embedded, policy_digest, strict_environment

QUESTION_BYTES = 1_400_000
MEMORY_BYTES = 900_000
"""What the questions shown one by one, and the memories of their people, may add to the page; the rest is in shown.json."""


@dataclass
class Drill:
    """The rendered questions and memories, and how many did not fit."""

    questions: list[Markup] = field(default_factory=list)
    memories: list[Markup] = field(default_factory=list)
    index: list[dict[str, Any]] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    questions_left_out: int = 0
    memories_left_out: int = 0


def render(
    results: Mapping[str, Any],
    figures: Mapping[str, str],
    pooled: Mapping[str, Any] | None = None,
    narrow: Mapping[str, str] = {},
) -> str:
    """The page. `figures`: name -> `<svg>` element; a figure that is not there is not shown. `narrow`: the same for a phone,
    of those that could not be read there."""
    jinja = environment()
    drill = _drill(jinja, results)
    script = '"use strict";\n' + jinja.get_template("drill.js.j2").render()
    return jinja.get_template("report.html.j2").render(
        r=results,
        systems={system["name"]: system for system in results["systems"]},
        groups=view.groups(results),
        main=view.main_test(results),
        lead=view.lead(results),
        tiles=view.tiles(results),
        readers=view.readers(results),
        columns=view.columns(results),
        slices=view.slices(results),
        own_judges=view.own_judges(results),
        without_tokens=view.without_tokens(results),
        facts=view.facts(results["provenance"], results),
        figures={name: _fitting(svg, narrow.get(name)) for name, svg in figures.items()},
        pooled=pooled,
        drill=drill,
        index=embedded(drill.index),
        script=Markup(script),
        script_digest=policy_digest(script),
    )


def _fitting(svg: str, narrow: str | None) -> Markup:
    both = svg if narrow is None else f'<div class="full">{svg}</div><div class="narrow">{narrow}</div>'
    return Markup(both)


def render_pool(summary: Mapping[str, Any], figure: str) -> str:
    """A page with only the section on several seeds."""
    return environment().get_template("pool.html.j2").render(pooled=summary, figures={"seeds": Markup(figure)})


def environment() -> jinja2.Environment:
    """The report's templates and how they put figures into words."""
    found = strict_environment("personamem_pipeline.evaluation")
    found.filters |= {
        "percent": wording.percent,
        "bare": wording.bare,
        "points": wording.points,
        "p": wording.p_value,
        "count": wording.count,
        "amount": wording.amount,
        "decimal": wording.decimal,
        "plain": wording.plain,
        "stacked": stacked,
    }
    return found


def _drill(jinja: jinja2.Environment, results: Mapping[str, Any]) -> Drill:
    drill, systems = Drill(), results["systems"]
    numbers = _memories(jinja, drill, results)
    template, size = jinja.get_template("question.html.j2"), 0
    for number, question in enumerate(results["shown"]):
        shown = question_view(question, systems, number, numbers.get(question["person_id"]))
        html = template.render(q=shown)
        size += len(html.encode())
        if size > QUESTION_BYTES:
            drill.questions_left_out = len(results["shown"]) - number
            break
        drill.questions.append(Markup(html))  # escaped by its template
        drill.index.append(index_row(shown))
    drill.types = sorted({row["type"] for row in drill.index})
    return drill


def _memories(jinja: jinja2.Environment, drill: Drill, results: Mapping[str, Any]) -> dict[str, int]:
    """Render the memories of the people shown, in the questions' order; person -> number of those that fit."""
    people = [
        person for person in dict.fromkeys(q["person_id"] for q in results["shown"]) if person in results["memories"]
    ]
    evidence: dict[str, list[str]] = {}
    for question in results["shown"]:
        evidence.setdefault(question["person_id"], []).extend(turn["content"] for turn in question["evidence"])
    template, size = jinja.get_template("memory.html.j2"), 0
    numbers: dict[str, int] = {}
    for number, person in enumerate(people):
        own = memory_view(person, number, results["memories"][person], results["systems"], evidence[person])
        html = template.render(memory=own)
        size += len(html.encode())
        if size > MEMORY_BYTES:
            drill.memories_left_out = len(people) - number
            break
        drill.memories.append(Markup(html))
        numbers[person] = number
    return numbers
