"""`personas`: a person for every seed, with preferences that are only ever revealed indirectly."""

from collections import Counter
from typing import Any

import dagster as dg

from assets.checks import Outcome
from assets.common import code_version, made_from, stage_asset, written_by
from assets.parents import Guard
from assets.shards import Made, Shard, Survey, run_shards
from personamem_pipeline.llm.prompts import AROUND
from personamem_pipeline.personas.review import INSTRUCTIONS as REVIEW
from personamem_pipeline.personas.write import INSTRUCTIONS, write_personas
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.released_files import table_paths
from personamem_pipeline.questions.released_records import released_personas
from personamem_pipeline.records import Persona, PersonaSeed
from resources.endpoint import EndpointResource
from resources.store import StoreResource

NAME = "personas"


def build(data: DataConfig, model: str) -> list[dg.AssetsDefinition]:
    """The personas asset of a preset, written by `model`."""
    version = code_version("personas/3", data.seed, data.personas, data.released, model, INSTRUCTIONS, REVIEW, AROUND)

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
        author = endpoint.open()

        def make(shard: Shard) -> Made[Persona]:
            seeds = shard.read("persona_seeds", PersonaSeed)
            planned = [seed.person_id for seed in seeds]
            if data.released:
                rows, rejected = released_personas(data.released, planned)
            else:
                rows, rejected = write_personas(seeds, data.personas, author, data.seed, shard.tell("personas", author))
            return Made(rows, planned, rejected)

        made_by = (
            made_from(*table_paths(data.released))
            if data.released
            else written_by(author.model, data.seed, INSTRUCTIONS, REVIEW)
        )
        return run_shards(
            context, NAME, Persona, version, store.open(), config, make, Persons(), endpoints=[author], made_by=made_by
        )

    return [personas]


class Persons(Survey[Persona]):
    """What is counted and checked about persons."""

    checks = ("whole_persons", "no_duplicate_preferences")

    def id_of(self, row: Persona) -> str:
        return row.person_id

    def see(self, made: Made[Persona]) -> None:
        for row in made.rows:
            self.counts.update(preference.pref_type for preference in row.preferences)
            self.counts["preferences"] += len(row.preferences)
            held = Counter((p.topic.casefold(), p.text.casefold()) for p in row.preferences)
            twice = [f"{row.person_id} holds {text!r} {n} times" for (_, text), n in held.items() if n > 1]
            self.note("no_duplicate_preferences", twice)
            if problem := incomplete(row):
                self.note("whole_persons", [f"{row.person_id}: {problem}"])

    def show(self, row: Persona) -> dict[str, Any]:
        preferences = "; ".join(preference.text for preference in row.preferences)
        return {"person_id": row.person_id, "seed": row.seed_persona, "preferences": preferences}

    def outcomes(self) -> list[Outcome]:
        return [*super().outcomes(), self.few_rejected()]


def incomplete(row: Persona) -> str:
    """What a person lacks; empty when it is whole."""
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
