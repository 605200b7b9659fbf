"""`questions`: one for each thing that is true of a person in the end, each with a measured certificate."""

from typing import Any

import dagster as dg

from assets.checks import Outcome
from assets.common import code_version, made_from, stage_asset, written_by
from assets.parents import Guard
from assets.shards import Made, Shard, Survey, run_shards
from personamem_pipeline.llm.prompts import AROUND
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.certify import INSTRUCTIONS as READER
from personamem_pipeline.questions.certify import certify
from personamem_pipeline.questions.released_files import table_paths
from personamem_pipeline.questions.released_records import released_questions, released_records
from personamem_pipeline.questions.write import INSTRUCTIONS as AUTHOR
from personamem_pipeline.questions.write import plan_questions, write_questions
from personamem_pipeline.records import History, Persona, Question
from resources.endpoint import EndpointResource
from resources.store import StoreResource

NAME = "questions"
LEAST_ADMITTED = 0.5


def build(data: DataConfig, model: str, readers: tuple[str, ...]) -> list[dg.AssetsDefinition]:
    """The questions asset of a preset, written by `model` and certified by `readers`."""
    version = code_version(
        "questions/3", data.seed, data.questions, data.released, model, readers, AUTHOR, READER, AROUND
    )

    @stage_asset(
        NAME,
        version,
        {"openai", "parquet"},
        "Four-option questions; each certified as unanswerable blind and answerable from its evidence.",
        data,
    )
    def questions(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, endpoint: EndpointResource
    ) -> dg.MaterializeResult:
        author, second = endpoint.open(), endpoint.open_second_reader()
        endpoints = [author, second] if second else [author]

        def make(shard: Shard) -> Made[Question]:
            persons, histories = shard.read("personas", Persona), shard.read("histories", History)
            if data.released:
                rows, rejected = released_questions(data.released, [person.person_id for person in persons])
                gone = {item.row_id for item in rejected}
                records = released_records(data.released, [person.person_id for person in persons])
                planned = [lost if lost in gone else made for made, lost in records]
                return Made(rows, planned, rejected, given=histories)
            tell = shard.tell("questions", author)
            written, rejected = write_questions(persons, histories, author, data.seed, tell)
            of = {history.person_id: history for history in histories}
            plans = [plan_questions(person, of[person.person_id]) for person in persons]
            planned = [plan.question_id for own, _ in plans for plan in own]
            planned += [row.row_id for _, lacking in plans for row in lacking]
            tell = shard.tell("certificates", author)
            rows = certify(written, histories, data.questions, endpoints, data.seed, tell)
            return Made(rows, planned, rejected, given=histories)

        made_by = (
            made_from(*table_paths(data.released))
            if data.released
            else written_by(author.model, data.seed, AUTHOR, READER, readers=", ".join(readers))
        )
        survey = Questions(may_lack_evidence=data.released is not None)
        return run_shards(
            context,
            NAME,
            Question,
            version,
            store.open(),
            config,
            make,
            survey,
            endpoints=endpoints,
            made_by=made_by,
        )

    return [questions]


class Questions(Survey[Question]):
    """What is counted and checked about questions; `given` are the histories."""

    checks = ("certificates_present", "evidence_in_history")

    def __init__(self, *, may_lack_evidence: bool) -> None:
        super().__init__()
        self.may_lack_evidence = may_lack_evidence

    def id_of(self, row: Question) -> str:
        return row.question_id

    def see(self, made: Made[Question]) -> None:
        turns = {history.person_id: {message.turn_id for message in history.messages} for history in made.given}
        for row in made.rows:
            certificate = row.certificate
            self.counts["admitted"] += certificate.admitted
            self.counts.update({f"refused_{reason.partition(':')[0]}" for reason in certificate.reasons})
            self.counts.update([row.pref_type] if certificate.admitted else [])
            if not certificate.readers or certificate.admitted == bool(certificate.reasons):
                self.note("certificates_present", [row.question_id])
            lacking = not row.evidence and not self.may_lack_evidence
            if lacking or not set(row.evidence) <= turns[row.person_id]:
                self.note("evidence_in_history", [row.question_id])

    def show(self, row: Question) -> dict[str, Any]:
        return {
            "question_id": row.question_id,
            "type": row.pref_type,
            "query": row.user_query,
            "right": row.correct_answer,
        }

    def outcomes(self) -> list[Outcome]:
        share = self.counts["admitted"] / self.rows if self.rows else 0.0
        facts = {"share": share, "least": LEAST_ADMITTED}
        return [*super().outcomes(), Outcome("share_admitted", share >= LEAST_ADMITTED, facts)]
