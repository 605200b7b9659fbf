"""(a) Memories shared and turns batched, against every question for itself."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.evaluation_setup import Bench, Part, same, timed
from personamem_pipeline.evaluation.asked import Asked, asked
from personamem_pipeline.evaluation.source import Batch
from personamem_pipeline.memory import episode
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.presets import MemoryConfig

ALONE, SHARED, BATCHED = "question by question", "memories shared", "memories shared, turns batched"


def measure(bench: Bench) -> Part:
    """Questions per second of the memory system, three ways; one option order, greedy, equal replies."""
    source, memory = bench.source(orders=1, pairs=False), bench.memory
    (batch,) = source.batches()
    generator = bench.generator()
    items = asked(batch)
    ways: dict[str, Callable[[], list[str]]] = {
        ALONE: lambda: one_by_one(batch, items, generator, memory, shared=False),
        SHARED: lambda: one_by_one(batch, items, generator, memory, shared=True),
        BATCHED: lambda: [reply.output for reply in bench.system(generator).run(batch).replies],
    }
    ways[BATCHED]()  # first allocations
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    replies: dict[str, list[str]] = {}
    for _ in range(bench.rounds):
        for name, run in ways.items():
            replies[name], spent = timed(run)
            seconds[name].append(spent)
            same(f"{name} against {ALONE}", replies[name], replies[ALONE])
    middle = {name: median(own) for name, own in seconds.items()}
    lines = [["way", "s", "questions/s", "times as fast"]]
    lines += [
        [name, f"{spent:.2f}", f"{len(items) / spent:.2f}", f"{middle[ALONE] / spent:.1f}"]
        for name, spent in middle.items()
    ]
    return Part(
        f"(a) {len(items)} questions about {len(batch.people)} people",
        lines,
        {"questions": len(items), "people": len(batch.people), "seconds": seconds},
        (f"All {len(items)} replies are equal, three ways. {len(items) / len(batch.people):.1f} questions a person.",),
    )


def one_by_one(
    batch: Batch, items: list[Asked], generator: Generator, memory: MemoryConfig, *, shared: bool
) -> list[str]:
    """One prompt at a time. Not `shared`: the history is read anew for every question, as evaluations do that take a
    table of questions row by row (the released inference.py, and a writer that sees the query has no other way)."""
    chats = {person.person_id: person.history.messages for person in batch.people}
    written: dict[str, str] = {}
    replies = []
    for item in items:
        person = item.question.person_id
        if not shared or person not in written:
            (turns,) = episode.write_memories([chats[person]], generator, memory)
            written[person] = episode.final_memory(turns)
        prompt = episode.question_prompt(memory, written[person], item.question.user_query, item.options)
        (reply,) = generator.generate([prompt], max_tokens=memory.answer_tokens)
        replies.append(reply.text)
    return replies
