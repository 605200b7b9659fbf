"""`conversations`: the sittings in which preferences are given away, changed or asked to be forgotten."""

from typing import Any

import dagster as dg

from assets.checks import Outcome
from assets.common import code_version, made_from, stage_asset, written_by
from assets.parents import Guard
from assets.shards import Made, Shard, Survey, run_shards
from personamem_pipeline.conversations.plan import plan_sessions
from personamem_pipeline.conversations.sessions import INSTRUCTIONS, write_sessions
from personamem_pipeline.llm.prompts import AROUND
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.questions.released_files import chats_digest, table_paths
from personamem_pipeline.questions.released_records import released_sessions
from personamem_pipeline.records import Persona, Session
from resources.endpoint import EndpointResource
from resources.store import StoreResource

NAME = "conversations"


def build(data: DataConfig, model: str) -> list[dg.AssetsDefinition]:
    """The conversations asset of a preset, written by `model`."""
    version = code_version("conversations/4", data.seed, data.conversations, data.released, model, INSTRUCTIONS, AROUND)

    @stage_asset(
        NAME,
        version,
        {"openai", "parquet"},
        "Sessions of nine kinds that reveal a preference indirectly, and small talk that reveals nothing.",
        data,
    )
    def conversations(
        context: dg.AssetExecutionContext, config: Guard, store: StoreResource, endpoint: EndpointResource
    ) -> dg.MaterializeResult:
        author = endpoint.open()

        def make(shard: Shard) -> Made[Session]:
            persons = shard.read("personas", Persona)
            if data.released:
                names = [person.person_id for person in persons]
                rows, rejected = released_sessions(data.released, names)
                ended = {row.person_id for row in rows} | {item.row_id for item in rejected}
                silent = [name for name in names if name not in ended]
                planned = [row.session_id for row in rows] + [item.row_id for item in rejected]
                chats = {"chats": chats_digest(data.released, names)}
                # Nobody planned sessions; every person must have some.
                return Made(rows, planned + silent, rejected, made_by=chats)
            planned = [plan.session_id for p in persons for plan in plan_sessions(p, data.conversations, data.seed)]
            tell = shard.tell("sessions", author)
            rows, rejected = write_sessions(persons, data.conversations, author, data.seed, tell)
            return Made(rows, planned, rejected)

        survey = Sessions(released=data.released is not None)
        made_by = (
            made_from(*table_paths(data.released))
            if data.released
            else written_by(author.model, data.seed, INSTRUCTIONS)
        )
        return run_shards(
            context, NAME, Session, version, store.open(), config, make, survey, endpoints=[author], made_by=made_by
        )

    return [conversations]


class Sessions(Survey[Session]):
    """What is counted and checked about sessions."""

    checks = ("evidence_present", "roles_alternate")

    def __init__(self, *, released: bool = False) -> None:
        super().__init__()
        self.released = released
        """Released chats are cut into sessions at their snippets, and some have two user messages in a row."""

    def id_of(self, row: Session) -> str:
        return row.session_id

    def see(self, made: Made[Session]) -> None:
        for row in made.rows:
            self.counts.update((row.event, row.conversation_type))
            turns = {message.turn_id for message in row.messages}
            if (row.event == "small_talk") == bool(row.evidence) or not set(row.evidence) <= turns:
                self.note("evidence_present", [f"{row.session_id} ({row.event}) has evidence {list(row.evidence)}"])
            alternate = all(m.role == ("user", "assistant")[i % 2] for i, m in enumerate(row.messages))
            if not alternate and not self.released:
                roles = ", ".join(message.role for message in row.messages)
                self.note("roles_alternate", [f"{row.session_id}: {roles}"])

    def show(self, row: Session) -> dict[str, Any]:
        return {
            "session_id": row.session_id,
            "type": row.conversation_type,
            "event": row.event,
            "opens": row.messages[0].content,
        }

    def outcomes(self) -> list[Outcome]:
        return [*super().outcomes(), self.few_rejected()]
