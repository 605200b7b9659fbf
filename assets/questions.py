"""`questions`: one for each thing that is true of a person in the end, each with a measured certificate."""

from collections import Counter
from dataclasses import asdict

import dagster as dg

from assets.checks import Outcome, none_of
from assets.common import ShardResult, clear_errors, code_version, producer, sharded_result, stage_asset, tell
from assets.parents import Guard, resolve
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.certify import INSTRUCTIONS as READER
from personamem_pipeline.questions.certify import certify
from personamem_pipeline.questions.gather import whole_evidence
from personamem_pipeline.questions.write import INSTRUCTIONS as AUTHOR
from personamem_pipeline.questions.write import write_questions
from personamem_pipeline.records import History, Persona, Question
from resources.endpoint import EndpointResource
from resources.store import StoreResource

NAME = "questions"
LEAST_ADMITTED = 0.5


def build(data: DataConfig, model: str) -> list[dg.AssetsDefinition]:
    """The questions asset of a preset, written and certified by `model`."""
    version = code_version("questions/1", data.seed, data.questions, model, AUTHOR, READER)

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
        opened, author = store.open(), endpoint.open()
        parents = resolve(context, NAME, opened, guard=config, shards=context.partition_keys)
        rows: list[Question] = []
        histories: list[History] = []
        rejected: list[tuple[str, str]] = []
        shards = []
        with clear_errors():
            for shard in context.partition_keys:
                personas = opened.read_rows("personas", parents[f"personas/{shard}"].version, Persona)
                read = opened.read_rows("histories", parents[f"histories/{shard}"].version, History)
                written, refused = write_questions(
                    personas, read, author, data.seed, tell(context, "questions " + shard)
                )
                certified = certify(
                    written, read, data.questions, author, data.seed, tell(context, "certificates " + shard)
                )
                made = producer(NAME, version, author=author.model, reader=author.model, seed=str(data.seed))
                manifest = opened.write_rows(NAME, Question, certified, parents=parents.versions(shard), producer=made)
                shards.append(ShardResult(shard, manifest, len(certified)))
                rows += certified
                histories += read
                rejected += refused
        reasons = Counter(reason.partition(":")[0] for row in rows for reason in row.certificate.reasons)
        admitted = sum(row.certificate.admitted for row in rows)
        return sharded_result(
            context,
            NAME,
            opened,
            parents,
            shards,
            counts={
                "questions": len(rows),
                "admitted": admitted,
                "not_written": len(rejected),
                **{f"refused_{name}": count for name, count in reasons.items()},
                **Counter(row.pref_type for row in rows if row.certificate.admitted),
            },
            sample=(
                {"question_id": r.question_id, "type": r.pref_type, "query": r.user_query, "right": r.correct_answer}
                for r in rows
            ),
            outcomes=check(rows, histories),
            cost=asdict(author.usage),
        )

    return [questions]


def check(rows: list[Question], histories: list[History]) -> list[Outcome]:
    """The stage's checks."""
    uncertified = [
        row.question_id
        for row in rows
        if not row.certificate.reader or row.certificate.admitted == bool(row.certificate.reasons)
    ]
    admitted = sum(row.certificate.admitted for row in rows)
    share = admitted / len(rows) if rows else 0.0
    evidence = whole_evidence(histories, rows)
    return [
        none_of("certificates_present", uncertified, questions=len(rows)),
        Outcome("share_admitted", share >= LEAST_ADMITTED, {"share": share, "least": LEAST_ADMITTED}),
        none_of("evidence_in_history", list(evidence.facts["questions_without_evidence"]), questions=len(rows)),
    ]
