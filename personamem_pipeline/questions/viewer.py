"""The viewer: one HTML page to browse persons, their sessions and their questions, which needs nothing else.

Each person is a JSON block of the page that the browser parses only when somebody looks at that person, so that a page
of twenty long histories opens at once. Rows are written by models: they reach the page as JSON and as text nodes, never
as markup, and a content security policy names the digests of the only script and style that may run. There are no dates,
times or paths in it: the same rows give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.viewer_data import overview, person_block, person_summary
from personamem_pipeline.records import History, Persona, Question, Rejection

SCRIPTS = tuple(f"viewer{part}.js.j2" for part in ("_parts", "_questions", "_sessions", "_person", ""))


def write_viewer(
    target: Path,
    *,
    title: str,
    histories: Iterable[History],
    questions: Sequence[Question],
    personas: Mapping[str, Persona] | None = None,
    rejected: Sequence[Rejection] = (),
    facts: Mapping[str, str],
) -> None:
    """Write the page to `target`.

    The persons shown are those of `histories`, in that order and read one at a time. The overview is over all of
    `questions` and `rejected`, so that a page of a few persons still tells about their dataset. `facts` (name -> value)
    stand on top: where the rows come from, the funnel's figures. Without `personas` (by person_id) the preferences are
    those that sessions and questions speak of, and there is no profile.

    Raises `UserError` when there is nobody to show or somebody twice.
    """
    if target.is_dir():
        raise UserError(
            "the page cannot replace a directory", where=target, remedy=f"name a file: {target}/viewer.html"
        )
    asked: dict[str, list[Question]] = defaultdict(list)
    refused: dict[str, list[Rejection]] = defaultdict(list)
    for question in questions:
        asked[question.person_id].append(question)
    for rejection in rejected:
        refused[rejection.person_id].append(rejection)
    summaries: dict[str, dict[str, Any]] = {}

    def blocks() -> Iterator[Markup]:
        for history in histories:
            who = history.person_id
            if who in summaries:
                raise UserError("the same person twice", where=who, expected="one history a person")
            persona = personas.get(who) if personas else None
            block = person_block(history, asked[who], persona, refused[who])
            summaries[who] = person_summary(history, asked[who], block)
            yield embedded(block)
        if not summaries:
            raise UserError("there are no histories to show", where=title, remedy="choose a dataset that has persons")

    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.partial")  # nobody opens half a page
    with scratch.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(
            _page(
                title=title,
                facts=facts,
                blocks=blocks(),
                overview=lambda: overview(questions, rejected, list(summaries.values())),
                index=lambda: embedded(list(summaries.values())),
            )
        )
    scratch.replace(target)


def embedded(value: Any) -> Markup:
    """JSON that may stand inside a script element: no `<`, so neither `</script` nor `<!--` can end or hide anything."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def strict_environment(package: str) -> jinja2.Environment:
    """A package's templates: every value is escaped, and one that is not there is an error rather than an empty place."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _page(**values: Any) -> Iterator[str]:
    environment = strict_environment("personamem_pipeline.questions")
    environment.filters |= {"percent": _percent, "count": lambda value: f"{value:,}", "plain": _plain}
    style = environment.get_template("viewer.css.j2").render()
    script = '"use strict";\n' + "\n".join(environment.get_template(name).render() for name in SCRIPTS)
    # `generate` renders while it reads, so one person is in memory at a time; what sums up comes after the last block.
    return environment.get_template("viewer.html.j2").generate(
        style=Markup(style),
        style_digest=policy_digest(style),
        script=Markup(script),
        script_digest=policy_digest(script),
        **values,
    )


def policy_digest(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _percent(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{100 * value:.1f} %"


def _plain(name: str) -> str:
    return name.replace("_", " ")
