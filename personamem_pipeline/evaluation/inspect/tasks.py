"""The tasks that Inspect finds: `personamem` (four options) and `personamem_open` (without options).

inspect eval personamem_pipeline/personamem --model personamem/demo -T protocol=memory -T persons=20
inspect view
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig

from personamem_pipeline.evaluation.inspect.dataset import Library, choices, open_questions, open_source
from personamem_pipeline.evaluation.inspect.provider import personamem_model
from personamem_pipeline.evaluation.inspect.scorer import choice, judged
from personamem_pipeline.evaluation.inspect.solver import Protocol, reader
from personamem_pipeline.settings import load_settings
from personamem_pipeline.store import Store

__all__ = ["personamem", "personamem_model", "personamem_open"]


@task
def personamem(
    benchmark: str = "",
    protocol: Protocol = "memory",
    orders: int = 2,
    seed: int = 0,
    persons: int | None = None,
    preset: str = "",
    answer_tokens: int | None = None,
    root: str = "",
) -> Task:
    """Multiple choice: four options under letters, every question in `orders` seeded orders.

    Args:
        benchmark: A version of the store or how it begins, a directory, or a released table (then `root` is what its
            paths are relative to). May be empty where the store has just one benchmark.
        protocol: full_context, no_history, oracle or memory, as in the report.
        orders: Option orders per question; the report's are those of `evaluation.option_orders`.
        seed: Of the option orders; the report's is `evaluation.seed`.
        persons: Only the first so many people, by id.
        preset: Whose prompts and sizes; default: a checkpoint's own, and the paper's for other models.
        answer_tokens: Another cap of an answer, for models that think at length.
        root: See `benchmark`.
    """
    library = _library(benchmark, root, orders, seed, persons)
    return Task(
        dataset=choices(library),
        solver=reader(library, protocol, preset, answer_tokens),
        scorer=choice(),
        config=GenerateConfig(temperature=0.0),
        metadata={"protocol": protocol, "orders": orders, "seed": seed, "persons": len(library.chats)},
    )


@task
def personamem_open(
    benchmark: str = "",
    protocol: Protocol = "memory",
    persons: int | None = None,
    preset: str = "",
    answer_tokens: int | None = None,
    root: str = "",
) -> Task:
    """Without options: every question once, its answer scored by the report's judges.

    The judges are models at the endpoint that the settings name (offline the simulator), not Inspect's. Arguments as of
    `personamem`; the judges are those of `preset` too.
    """
    library = _library(benchmark, root, 1, 0, persons)
    return Task(
        dataset=open_questions(library),
        solver=reader(library, protocol, preset, answer_tokens),
        scorer=judged(library, preset),
        config=GenerateConfig(temperature=0.0),
        metadata={"protocol": protocol, "persons": len(library.chats)},
    )


def _library(benchmark: str, root: str, orders: int, seed: int, persons: int | None) -> Library:
    store = Store(load_settings().store)
    return Library.of(open_source(benchmark, store, root=root, orders=orders, seed=seed, persons=persons))
