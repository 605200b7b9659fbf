"""`personas`: a person for every seed, with preferences that are only ever revealed indirectly."""

from collections import Counter
from dataclasses import asdict

import dagster as dg

from assets.checks import Outcome, few_rejected, none_of
from assets.common import ShardResult, clear_errors, code_version, producer, sharded_result, stage_asset, tell
from assets.parents import Guard, resolve
from personamem_pipeline.personas.write import INSTRUCTIONS, write_personas
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.records import Persona, PersonaSeed
from resources.endpoint import EndpointResource
from resources.store import StoreResource

NAME = "personas"


def build(data: DataConfig, model: str) -> list[dg.AssetsDefinition]:
    """The personas asset of a preset, written by `model`."""
    version = code_version("personas/1", data.seed, data.personas, model, INSTRUCTIONS)

    @stage_asset(
        NAME,
        version,
        {"openai", "parquet"},
        "Persons with preferences of every type; some change, some are to be forgotten, some are others'.",
        data,
    )
    def personas(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, endpoint: EndpointResource
    ) -> dg.MaterializeResult:
        opened, author = store.open(), endpoint.open()
        parents = resolve(context, NAME, opened, guard=config, shards=context.partition_keys)
        rows: list[Persona] = []
        rejected: list[tuple[str, str]] = []
        shards = []
        with clear_errors():
            for shard in context.partition_keys:
                seeds = opened.read_rows("persona_seeds", parents[f"persona_seeds/{shard}"].version, PersonaSeed)
                written, refused = write_personas(
                    seeds, data.personas, author, data.seed, tell(context, "personas " + shard)
                )
                made = producer(NAME, version, author=author.model, seed=str(data.seed))
                manifest = opened.write_rows(NAME, Persona, written, parents=parents.versions(shard), producer=made)
                shards.append(ShardResult(shard, manifest, len(written)))
                rows += written
                rejected += refused
        types: Counter[str] = Counter(preference.pref_type for row in rows for preference in row.preferences)
        return sharded_result(
            context,
            NAME,
            opened,
            parents,
            shards,
            counts={"persons": len(rows), "rejected": len(rejected), "preferences": types.total(), **types},
            sample=(
                {
                    "person_id": r.person_id,
                    "seed": r.seed_persona,
                    "preferences": "; ".join(p.text for p in r.preferences),
                }
                for r in rows
            ),
            outcomes=check(rows, rejected),
            cost=asdict(author.usage),
        )

    return [personas]


def check(rows: list[Persona], rejected: list[tuple[str, str]]) -> list[Outcome]:
    """The stage's checks."""
    broken = [f"{row.person_id}: {problem}" for row in rows if (problem := _incomplete(row))]
    twice = [
        f"{row.person_id} holds {text!r} {count} times"
        for row in rows
        for text, count in Counter((p.topic.casefold(), p.text.casefold()) for p in row.preferences).items()
        if count > 1
    ]
    return [
        none_of("whole_persons", broken, persons=len(rows)),
        none_of("no_duplicate_preferences", twice, persons=len(rows)),
        few_rejected(len(rows), rejected),
    ]


def _incomplete(row: Persona) -> str:
    ids = [preference.preference_id for preference in row.preferences]
    if not ids:
        return "no preferences"
    if len(set(ids)) < len(ids):
        return "two preferences have one id"
    for index, preference in enumerate(row.preferences):
        if not preference.text.strip() or not preference.topic.strip():
            return f"{preference.preference_id} has no text or no topic"
        if preference.replaces is not None and preference.replaces not in ids[:index]:
            return f"{preference.preference_id} replaces {preference.replaces}, which is not an earlier one"
    return ""
