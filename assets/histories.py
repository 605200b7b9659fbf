"""`histories`: everything one person said, in time order, within a token budget."""

from typing import Any

import dagster as dg

from assets.common import code_version, file_digest, made_from, stage_asset
from assets.parents import Guard
from assets.shards import Made, Shard, Survey, run_shards
from personamem_pipeline.conversations.counting import COUNTERS
from personamem_pipeline.conversations.histories import assemble_all
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.released_files import chats_digest, table_paths
from personamem_pipeline.questions.released_records import released_histories
from personamem_pipeline.records import History, Persona, Rejection, Session
from personamem_pipeline.settings import PROJECT
from resources.store import StoreResource

NAME = "histories"


def build(data: DataConfig) -> list[dg.AssetsDefinition]:
    """The histories asset of a preset."""
    version = code_version(
        "histories/3", data.histories, data.released, *(file_digest(PROJECT / name) for name in _files(data))
    )

    @stage_asset(
        NAME,
        version,
        {"parquet"},
        "A person's sessions in time order, cut to the token budget without losing any evidence, padded if asked for.",
        data,
    )
    def histories(context: dg.AssetExecutionContext, config: Guard, store: StoreResource) -> dg.MaterializeResult:
        def make(shard: Shard) -> Made[History]:
            persons = shard.read("personas", Persona)
            planned = [person.person_id for person in persons]
            if data.released:
                rows = released_histories(data.released, planned, profile_message=data.histories.profile_message)
                found = {row.person_id for row in rows}
                lost = [_unreadable(name) for name in planned if name not in found]
                chats = {"chats": chats_digest(data.released, planned)}
                return Made(rows, planned, lost, given=[], made_by=chats)
            sessions = shard.read("conversations", Session)
            return Made(assemble_all(persons, sessions, data.histories), planned, given=sessions)

        budget = data.histories.pad_to or data.histories.tokens
        read = table_paths(data.released) if data.released else _files(data)
        return run_shards(
            context, NAME, History, version, store.open(), config, make, Histories(budget), made_by=made_from(*read)
        )

    return [histories]


def _files(data: DataConfig) -> list[str]:
    """Files that the preset names and histories are made with."""
    named = [data.histories.padding] if data.histories.padding != "builtin" else []
    named += [f"{data.histories.tokenizer}/tokenizer.json"] if data.histories.tokenizer not in COUNTERS else []
    return named


def _unreadable(person_id: str) -> Rejection:
    reason = "history: the file is missing or cannot be read; `conversations` says why"
    return Rejection(row_id=person_id, person_id=person_id, reason=reason)


class Histories(Survey[History]):
    """What is counted and checked about histories; `given` are the sessions before the cut."""

    checks = ("in_time_order", "evidence_kept", "within_budget")

    def __init__(self, budget: int) -> None:
        super().__init__()
        self.budget = budget
        self.lengths: list[int] = []

    def id_of(self, row: History) -> str:
        return row.person_id

    def see(self, made: Made[History]) -> None:
        given: list[Session] = made.given
        for row in made.rows:
            self.lengths.append(row.tokens)
            self.counts.update(sessions=len(row.sessions), messages=len(row.messages), tokens=row.tokens)
            self.counts.update(gpt4o_tokens=row.gpt4o_tokens, padding_tokens=row.padding_tokens)
            times = [session.time for session in row.sessions]
            if times != sorted(times) or len({m.turn_id for m in row.messages}) < len(row.messages):
                self.note("in_time_order", [row.person_id])
            if row.tokens > self.budget and any(not session.evidence for session in row.sessions):
                self.note("within_budget", [f"{row.person_id} has {row.tokens} tokens of {self.budget}"])
        kept = {message.turn_id for row in made.rows for message in row.messages}
        self.note("evidence_kept", [turn for s in given for turn in s.evidence if turn not in kept])
        self.counts["median_tokens"] = sorted(self.lengths)[len(self.lengths) // 2] if self.lengths else 0

    def show(self, row: History) -> dict[str, Any]:
        ends = row.messages[-1].content if row.messages else ""
        return {"person_id": row.person_id, "tokens": row.tokens, "sessions": len(row.sessions), "ends": ends}
