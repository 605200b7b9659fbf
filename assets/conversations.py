"""`conversations`: the sittings in which preferences are given away, changed or asked to be forgotten."""

from collections import Counter
from dataclasses import asdict

import dagster as dg

from assets.checks import Outcome, few_rejected, none_of
from assets.common import ShardResult, clear_errors, code_version, producer, sharded_result, stage_asset, tell
from assets.parents import Guard, resolve
from personamem_pipeline.conversations.sessions import INSTRUCTIONS, write_sessions
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.records import Persona, Session
from resources.endpoint import EndpointResource
from resources.store import StoreResource

NAME = "conversations"
KIND = "sessions"


def build(data: DataConfig, model: str) -> list[dg.AssetsDefinition]:
    """The conversations asset of a preset, written by `model`."""
    version = code_version("conversations/2", data.seed, data.conversations, model, INSTRUCTIONS)

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
        opened, author = store.open(), endpoint.open()
        parents = resolve(context, NAME, opened, guard=config, shards=context.partition_keys)
        rows: list[Session] = []
        rejected: list[tuple[str, str]] = []
        shards = []
        with clear_errors():
            for shard in context.partition_keys:
                personas = opened.read_rows("personas", parents[f"personas/{shard}"].version, Persona)
                written, refused = write_sessions(
                    personas, data.conversations, author, data.seed, tell(context, "sessions " + shard)
                )
                made = producer(NAME, version, author=author.model, seed=str(data.seed))
                manifest = opened.write_rows(KIND, Session, written, parents=parents.versions(shard), producer=made)
                shards.append(ShardResult(shard, manifest, len(written)))
                rows += written
                rejected += refused
        kinds: Counter[str] = Counter(row.conversation_type for row in rows)
        events: Counter[str] = Counter(row.event for row in rows)
        return sharded_result(
            context,
            NAME,
            opened,
            parents,
            shards,
            counts={"sessions": len(rows), "rejected": len(rejected), **events, **kinds},
            sample=(
                {
                    "session_id": r.session_id,
                    "type": r.conversation_type,
                    "event": r.event,
                    "opens": r.messages[0].content,
                }
                for r in rows
            ),
            outcomes=check(rows, rejected),
            cost=asdict(author.usage),
        )

    return [conversations]


def check(rows: list[Session], rejected: list[tuple[str, str]]) -> list[Outcome]:
    """The stage's checks."""
    evidence = [
        f"{row.session_id} ({row.event}) has evidence {list(row.evidence)}"
        for row in rows
        if (row.event == "small_talk") == bool(row.evidence)
        or not set(row.evidence) <= {message.turn_id for message in row.messages}
    ]
    roles = [
        f"{row.session_id}: {', '.join(message.role for message in row.messages)}"
        for row in rows
        if any(m.role != ("user", "assistant")[i % 2] for i, m in enumerate(row.messages))
    ]
    return [
        none_of("evidence_present", evidence, sessions=len(rows)),
        none_of("roles_alternate", roles, sessions=len(rows)),
        few_rejected(len(rows), rejected),
    ]
