"""The funnel: what was planned, what became of it, and where the rest went, for each stage and each reason.

What earlier stages rejected is found by walking back through the manifests of the shards, so the figures are those of
the very rows that this dataset was made from. In every stage: planned = kept + rejected; the reasons count parts of kept
rows too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from personamem_pipeline.lineage import GRAPH
from personamem_pipeline.questions.facts import QuestionFacts, code_of
from personamem_pipeline.questions.slices import LENGTH
from personamem_pipeline.records import Rejection, Split
from personamem_pipeline.store import ROWS, Store

CERTIFICATES = "certificates"
LENGTHS = "length balance"
UNKNOWN = "(unknown type)"
_MADE_BY = ("code_version", "author", "readers", "seed")
"""What the card says of a producer."""
COST = ("answers", "prompt_tokens", "completion_tokens")
"""What a producer says of its asking: answers, whether paid for or out of the cache, and their tokens."""
_FORGOTTEN = "ask_to_forget"
_PREFERENCE = "preferences.list.element."


@dataclass
class Stage:
    """What one stage made of one split's rows."""

    kept: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    parts: list[Rejection] = field(default_factory=list)
    """What was rejected of rows that were kept: a person's single preferences."""


@dataclass(frozen=True)
class Origins:
    """All shards behind a dataset, the shards of its direct parents included."""

    stages: dict[str, Stage]
    """Stage -> its rows of one split, in the order of the graph."""
    producers: dict[str, list[dict[str, str]]]
    """Stage -> the different producers that its manifests name."""
    types: dict[str, str]
    """Preference id -> question type, as planned with the persons."""
    cost: dict[str, Counter[str]]
    """Stage -> what its shards, those of the other split's persons included, asked of models (`COST`)."""

    def rejections(self) -> list[Rejection]:
        """What the stages rejected, in the order of the graph, then of ids."""
        return [
            row
            for stage in self.stages.values()
            for row in sorted((*stage.rejected, *stage.parts), key=lambda row: (row.row_id, row.reason))
        ]

    def type_of(self, row_id: str) -> str:
        """The type of a planned question that was never written: its id is `<preference id>.<which>`."""
        return self.types.get(row_id.rpartition(".")[0], UNKNOWN)


def origins(store: Store, split: Split, shards: Iterable[tuple[str, str]]) -> Origins:
    """Walk back from shards, (stage, version) each, through all parents that the store's manifests name.

    A rejected row that belongs to no known person (a broken line of a seeds file) is counted in both splits.
    """
    found = dict(_ancestors(store, sorted(set(shards))))
    order = {name: place for place, name in enumerate(GRAPH)}
    known = sorted(found, key=lambda pair: (order[pair[0]], pair[1]))
    splits = _splits(store, known)
    stages: dict[str, Stage] = {}
    producers: dict[str, list[dict[str, str]]] = {}
    types: dict[str, str] = {}
    cost: dict[str, Counter[str]] = {}
    for name, version in known:
        stage, kind = stages.setdefault(name, Stage()), GRAPH[name].kind
        maker = {key: value for key, value in found[name, version].items() if key in _MADE_BY}
        asked = {key: int(value) for key, value in found[name, version].items() if key in COST}
        if any(asked.values()):
            cost.setdefault(name, Counter()).update(asked)
        if maker not in producers.setdefault(name, []):
            producers[name].append(maker)
        persons = pq.read_table(store.path(kind, version) / ROWS, columns=["person_id"])["person_id"].to_pylist()
        stage.kept += sum(splits.get(person, split) == split for person in persons)
        for row in store.read_rejected(kind, version):
            if splits.get(row.person_id, split) == split:
                part = name == "personas" and row.row_id != row.person_id
                (stage.parts if part else stage.rejected).append(row)
        if name == "personas":
            types |= _types(store, version)
    return Origins(stages, producers, types, cost)


def funnel(
    questions: Sequence[QuestionFacts], trimmed: Mapping[str, str], stages: Origins | None = None
) -> dict[str, Any]:
    """Planned, written, admitted; refused by (every) reason; the same by type, and planned, kept, rejected by stage.

    `questions` are all written ones of a split, `trimmed` those refused for the length bounds. A question refused for
    two reasons counts under both codes, so codes may add up to more than the rows that were refused.
    """
    origin = stages or Origins({}, {}, {}, {})
    unwritten = origin.stages.get("questions", Stage()).rejected
    by_type: dict[str, dict[str, Any]] = {}
    for name, why, admitted in [
        *((origin.type_of(row.row_id), [code_of(row.reason)], False) for row in unwritten),
        *((row.pref_type, _codes(row, trimmed), _kept(row, trimmed)) for row in questions),
    ]:
        of_type = by_type.setdefault(name, {"planned": 0, "admitted": 0, "rejected": Counter()})
        of_type["planned"] += 1
        of_type["admitted"] += admitted
        of_type["rejected"].update(why)
    certified = sum(row.admitted for row in questions)
    steps: list[tuple[str, int, int, Mapping[str, int]]] = [
        (name, stage.kept, len(stage.rejected), Counter(code_of(row.reason) for row in stage.rejected + stage.parts))
        for name, stage in origin.stages.items()
    ]
    codes = Counter(code for row in questions for code in row.codes)
    steps.append((CERTIFICATES, certified, len(questions) - certified, codes))
    steps.append((LENGTHS, certified - len(trimmed), len(trimmed), {LENGTH: len(trimmed)} if trimmed else {}))
    return {
        "planned": len(unwritten) + len(questions),
        "written": len(questions),
        "admitted": certified - len(trimmed),
        "refused": dict(sorted((codes + Counter(steps[-1][3])).items())),
        "by_stage": {
            name: {
                "planned": kept + rejected,
                "kept": kept,
                "rejected": rejected,
                "reasons": dict(sorted(reasons.items())),
            }
            for name, kept, rejected, reasons in steps
        },
        "by_type": {
            name: {**row, "rejected": dict(sorted(row["rejected"].items()))} for name, row in sorted(by_type.items())
        },
    }


def funnel_table(figures: Mapping[str, Any]) -> str:
    """The funnel as two Markdown tables, by stage and by type."""
    lines = ["| stage | planned | kept | rejected | reasons |", "| --- | ---: | ---: | ---: | --- |"]
    for name, row in figures["by_stage"].items():
        lines.append(f"| {name} | {row['planned']} | {row['kept']} | {row['rejected']} | {_listed(row['reasons'])} |")
    lines += ["", "| type | planned | admitted | reasons |", "| --- | ---: | ---: | --- |"]
    for name, row in figures["by_type"].items():
        lines.append(f"| `{name}` | {row['planned']} | {row['admitted']} | {_listed(row['rejected'])} |")
    return "\n".join(lines)


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} `{code}`" for code, count in reasons.items()) or "-"


def _kept(question: QuestionFacts, trimmed: Mapping[str, str]) -> bool:
    return question.admitted and question.question_id not in trimmed


def _codes(question: QuestionFacts, trimmed: Mapping[str, str]) -> list[str]:
    return [LENGTH] if question.question_id in trimmed else list(question.codes)


def _ancestors(store: Store, shards: Iterable[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """((stage, version), producer) of the shards and everything they name as a parent, each once."""
    waiting, seen = list(shards), set(shards)
    while waiting:
        name, version = waiting.pop()
        manifest = store.manifest(GRAPH[name].kind, version)
        yield (name, version), manifest.producer
        for parent, parent_version in manifest.parents.items():
            found = (parent.partition("/")[0], parent_version)
            if found[0] in GRAPH and found not in seen:
                seen.add(found)
                waiting.append(found)


def _splits(store: Store, shards: Iterable[tuple[str, str]]) -> dict[str, Split]:
    """Person id -> split, from every kind of row that says so."""
    splits: dict[str, Split] = {}
    for name, version in shards:
        path = store.path(GRAPH[name].kind, version) / ROWS
        if "split" in pq.read_schema(path).names:
            table = pq.read_table(path, columns=["person_id", "split"])
            splits |= dict(zip(table["person_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    return splits


def _types(store: Store, version: str) -> dict[str, str]:
    columns = [_PREFERENCE + name for name in ("preference_id", "pref_type", "forgotten")]
    with pq.ParquetFile(store.path(GRAPH["personas"].kind, version) / ROWS) as file:
        held = file.read(columns=columns)["preferences"].to_pylist()
    return {
        preference["preference_id"]: _FORGOTTEN if preference["forgotten"] else preference["pref_type"]
        for preferences in held
        for preference in preferences
    }
