"""`histories`: everything one person said, in time order, within a token budget."""

import dagster as dg

from assets.checks import Outcome, none_of
from assets.common import ShardResult, clear_errors, code_version, producer, sharded_result, stage_asset
from assets.parents import Guard, resolve
from personamem_pipeline.conversations.histories import assemble, load_counter
from personamem_pipeline.presets import DataConfig
from personamem_pipeline.records import History, Persona, Session
from resources.store import StoreResource

NAME = "histories"


def build(data: DataConfig) -> list[dg.AssetsDefinition]:
    """The histories asset of a preset."""
    version = code_version("histories/1", data.histories)

    @stage_asset(
        NAME,
        version,
        {"parquet"},
        "A person's sessions in time order, cut to the token budget without losing any evidence.",
        data,
    )
    def histories(context: dg.AssetExecutionContext, config: Guard, store: StoreResource) -> dg.MaterializeResult:
        opened = store.open()
        parents = resolve(context, NAME, opened, guard=config, shards=context.partition_keys)
        rows: list[History] = []
        given: list[Session] = []
        shards = []
        with clear_errors():
            count = load_counter(data.histories.tokenizer)
            for shard in context.partition_keys:
                personas = opened.read_rows("personas", parents[f"personas/{shard}"].version, Persona)
                sessions = opened.read_rows("sessions", parents[f"conversations/{shard}"].version, Session)
                own: dict[str, list[Session]] = {persona.person_id: [] for persona in personas}
                for session in sessions:
                    own[session.person_id].append(session)
                made = [assemble(persona, own[persona.person_id], data.histories, count) for persona in personas]
                manifest = opened.write_rows(
                    NAME, History, made, parents=parents.versions(shard), producer=producer(NAME, version)
                )
                shards.append(ShardResult(shard, manifest, len(made)))
                rows += made
                given += sessions
        lengths = sorted(row.tokens for row in rows)
        return sharded_result(
            context,
            NAME,
            opened,
            parents,
            shards,
            counts={
                "histories": len(rows),
                "sessions": sum(len(row.sessions) for row in rows),
                "messages": sum(len(row.messages) for row in rows),
                "tokens": sum(lengths),
                "median_tokens": lengths[len(lengths) // 2] if lengths else 0,
            },
            sample=(
                {
                    "person_id": r.person_id,
                    "tokens": r.tokens,
                    "sessions": len(r.sessions),
                    "ends": r.messages[-1].content,
                }
                for r in rows
                if r.messages
            ),
            outcomes=check(rows, given, data.histories.tokens),
        )

    return [histories]


def check(rows: list[History], given: list[Session], budget: int) -> list[Outcome]:
    """The stage's checks; `given` are the sessions before the cut."""
    order = [
        row.person_id
        for row in rows
        if [s.time for s in row.sessions] != sorted(s.time for s in row.sessions)
        or len({message.turn_id for message in row.messages}) < len(row.messages)
    ]
    kept = {(row.person_id, message.turn_id) for row in rows for message in row.messages}
    cut = [turn for session in given for turn in session.evidence if (session.person_id, turn) not in kept]
    over = [
        f"{row.person_id} has {row.tokens} tokens of {budget}"
        for row in rows
        if row.tokens > budget and any(not session.evidence for session in row.sessions)
    ]
    return [
        none_of("in_time_order", order, histories=len(rows)),
        none_of("evidence_kept", cut, evidence_turns=sum(len(session.evidence) for session in given)),
        none_of("within_budget", over, budget=budget),
    ]
