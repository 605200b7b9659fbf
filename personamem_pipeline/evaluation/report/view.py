"""How `results.json` is laid out on the page: groups, columns, the sentence on top. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personamem_pipeline.evaluation.report.plots.slices import bin_order
from personamem_pipeline.evaluation.report.wording import p_value, percent, points, span
from personamem_pipeline.evaluation.scoring.runs import UNREAD

Results = Mapping[str, Any]
ROLES = {
    "model": "The memory agent",
    "control": "Controls: the same model with something taken away or given",
    "baseline": "Other ways to use the history",
    "external": "Systems of others",
    "guesser": "No model: guessers that look at the options alone",
}
ALPHA = 0.05
CHANCE = "Guessing gives 25 %."
COLUMNS = 6
"""Systems beside each other that a page has room for."""
TRAINING = ("grpo", "sft")
"""The comparison that the report is made for, where both were asked."""


def groups(results: Results) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """(title, systems) of every role that has systems, in the order of `ROLES`."""
    found = [(title, [s for s in results["systems"] if s["role"] == role]) for role, title in ROLES.items()]
    return [(title, systems) for title, systems in found if systems]


def main_test(results: Results) -> Mapping[str, Any] | None:
    """The first test, which is the question that the report was made for; None where nothing was compared."""
    return results["tests"][0] if results["tests"] else None


def lead(results: Results) -> list[str]:
    """What the report says first: the main comparison with its interval, and whether it is more than chance."""
    benchmark = results["benchmark"]
    asked = f"On {benchmark['questions']:,} questions about {_people(benchmark['persons'])}"
    test, systems = main_test(results), {system["name"]: system for system in results["systems"]}
    if test is None:
        best = max(results["systems"], key=lambda system: float(system["accuracy"]))
        said = f"{asked}, {_named(best)} scores best"
        return [
            f"{said}: {percent(best['accuracy'])} right{_between(best)}. {CHANCE}",
            "No two systems were compared by a test.",
        ]
    a, b = systems[test["a"]], systems[test["b"]]
    said = (
        f"{asked}, {_named(a)} answers {percent(a['accuracy'])} rightly and {_named(b)} {percent(b['accuracy'])}: "
        f"{points(test['difference'])} points"
    )
    if test["low"] is None or test["p"] is None:
        return [
            f"{said}. {CHANCE}",
            "With one person there is no interval and no test: this says nothing about other people.",
        ]
    corrected = "" if test["p_corrected"] is None else f", {p_value(test['p_corrected'])} corrected"
    tested = (
        f"95 % interval {span(test['low'], test['high'])}; paired test by person, p = {p_value(test['p'])}{corrected}"
    )
    return [f"{said} ({tested}). {CHANCE}", _verdict(test)]


def _verdict(test: Mapping[str, Any]) -> str:
    p = test["p"] if test["p_corrected"] is None else test["p_corrected"]
    if p >= ALPHA and test["p"] < ALPHA:
        return (
            "Taken as the one question asked in advance, the difference is more than the choice of people explains; "
            "among all the comparisons below it could still be luck."
        )
    if p >= ALPHA:
        return (
            "That is no evidence of a difference: the choice of people alone often makes one as large. "
            "Nor is it evidence of equality; the interval says what is still possible."
        )
    better = "better" if test["difference"] > 0 else "worse"
    one = "of each" if (test["a"], test["b"]) == TRAINING else "behind each model"
    return (
        f"The first is {better} than the second by more than the choice of people explains. There is one training {one}: "
        "whether another seed would say the same, only several seeds can tell."
    )


def _named(system: Mapping[str, Any]) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{system['label']}\N{RIGHT DOUBLE QUOTATION MARK}"


def _between(system: Mapping[str, Any]) -> str:
    if system["low"] is None:
        return ", without an interval, as there is one person"
    return f" (95 % interval {percent(system['low'])} to {percent(system['high'])})"


def _people(number: int) -> str:
    return "one person" if number == 1 else f"{number:,} people"


def readers(results: Results) -> list[Mapping[str, Any]]:
    """The systems that read something."""
    return [system for system in results["systems"] if system["role"] != "guesser"]


def columns(results: Results) -> list[list[Mapping[str, Any]]]:
    """The readers as tables of slices show them: the models first, the others in tables of their own, none too wide."""
    reading = readers(results)
    models = [system for system in reading if system["role"] == "model"]
    own = models[:COLUMNS] or reading[:COLUMNS]
    rest = [system for system in reading if system not in own]
    return [own, *(rest[start : start + COLUMNS] for start in range(0, len(rest), COLUMNS))]


def slices(results: Results) -> dict[str, list[tuple[str, Mapping[str, Mapping[str, Any]]]]]:
    """Dimension -> (slice, system -> row) in the order of names, distances from near to far."""
    found: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for system, dimensions in results["slices"].items():
        for dimension, rows in dimensions.items():
            for row in rows:
                found.setdefault(dimension, {}).setdefault(row["value"], {})[system] = row
    return {
        dimension: sorted(values.items(), key=lambda item: bin_order(item[0])) for dimension, values in found.items()
    }


def _readable(system: Mapping[str, Any]) -> bool:
    """Whether a system's score is about what it knows: most of its answers name an option."""
    return float(system["unparseable"]) <= UNREAD * float(system["n"])


def tiles(results: Results) -> list[tuple[str, str]]:
    """(figure, what it is): the few figures that put the headline into proportion."""
    systems = {system["name"]: system for system in results["systems"]}
    tokens = {row["system"]: row["tokens_per_question"] for row in results["ledger"]}
    found = [
        (percent(systems[name]["accuracy"]), said)
        for name, said in (
            ("grpo", "right after GRPO, memory agent"),
            ("full_context", "right with the whole chat in the prompt"),
            ("swapped_history", "right with another person's memory"),
            ("no_history", "right with no memory at all"),
        )
        if name in systems and _readable(systems[name])
    ]
    if tokens.get("grpo") and tokens.get("full_context") and _readable(systems["full_context"]):
        ratio = tokens["full_context"] / tokens["grpo"]
        found.append(
            (
                f"{ratio:.1f}\N{MULTIPLICATION SIGN}",
                "as many tokens for full context as for the memory agent, writing counted",
            )
        )
    return found


def without_tokens(results: Results) -> list[str]:
    """Labels of systems whose tokens are not known, so that they have no place in the frontier."""
    known = {row["system"] for row in results["ledger"] if row["tokens_per_question"]}
    return [system["label"] for system in results["systems"] if system["name"] not in known]


def own_judges(results: Results) -> list[str]:
    """Judges (`model/rubric`) whose model also wrote rows of the benchmark."""
    judges = results["judging"]["judges"] if results["judging"] else ()
    return [judge for judge in judges if judge.rpartition("/")[0] in results["benchmark"]["authors"]]


def facts(provenance: Mapping[str, Any], results: Results) -> list[tuple[str, Any]]:
    """(what, value) of the provenance block; None where the evaluation did not say."""
    versions, benchmark = provenance.get("versions", {}), results["benchmark"]
    temperature = provenance.get("temperature")
    decoding = None
    if temperature is not None:
        decoding = f"sampled at temperature {temperature}, seeded" if temperature else "greedy"
    rubrics = provenance.get("rubrics", {})
    memory, systems = provenance.get("memory"), provenance.get("systems", {})
    return [
        *((f"{name}", version) for name, version in sorted(versions.items())),
        ("evaluation code", provenance.get("code_version")),
        ("preset", provenance.get("preset")),
        ("preset digest", provenance.get("preset_digest")),
        ("judges", _listed(provenance.get("judges"))),
        *((f"rubric {name}", version) for name, version in sorted(rubrics.items())),
        ("engine", provenance.get("engine")),
        ("decoding", decoding),
        ("memory protocol", _listed([f"{name} {value}" for name, value in memory.items()]) if memory else None),
        ("option orders", f"{benchmark['option_orders']} a question, drawn with seed {benchmark['seed']}"),
        *(
            (f"system {name}", _listed([f"{key} {value}" for key, value in own.items()]))
            for name, own in systems.items()
        ),
        ("resamples", f"{benchmark['resamples']:,} for every interval and test"),
    ]


def _listed(values: Sequence[Any] | None) -> str | None:
    return ", ".join(str(value) for value in values) if values else None
