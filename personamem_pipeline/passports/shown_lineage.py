"""What touched a checkpoint, and what saw a row or person: as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personamem_pipeline.passports.chain import SHORT
from personamem_pipeline.passports.holding import Held
from personamem_pipeline.passports.records import Data
from personamem_pipeline.passports.shown import say, table_of
from personamem_pipeline.passports.trace import Sight, Touched
from personamem_pipeline.passports.used import steps_of


def show_rows(touched: Sequence[Touched], console: Console, limit: int) -> None:
    """What each checkpoint of a chain saw, who wrote it, and the rows with the steps that saw them, the first `limit` by
    id."""
    table = table_of(
        "checkpoint", "steps", "rows a step", "different rows", "what is not known", title="what touched it"
    )
    for each in touched:
        used = each.used
        sizes = sorted(map(len, used.steps)) if used else []
        counts = (
            [str(len(sizes)), f"{sizes[0]} to {sizes[-1]}" if sizes else "", str(len(used.ids))] if used else [""] * 3
        )
        table.add_row(f"{each.stage} {each.checkpoint[:SHORT]}", *counts, Text(each.problem))
    console.print(table)
    for data in _datasets(touched):
        console.print(_authors(data))
    known = {each.stage: steps_of(each.used, each.used.ids) for each in touched if each.used}
    rows = sorted({row for steps in known.values() for row in steps})
    if not rows:
        return
    listed = table_of("row", *(f"steps of {stage}" for stage in known))
    for row in rows[:limit]:
        listed.add_row(Text(row), *(_steps(steps.get(row, [])) for steps in known.values()))
    console.print(listed)
    if len(rows) > limit:
        say(console, f"{len(rows) - limit} more rows: --rows {len(rows)}, or --json")


def rows_json(touched: Sequence[Touched]) -> dict[str, Any]:
    return {
        "chain": [
            {
                "checkpoint": each.checkpoint,
                "stage": each.stage,
                "steps": len(each.used.steps) if each.used else None,
                "rows_per_step": [len(step) for step in each.used.steps] if each.used else None,
                "rows": steps_of(each.used, each.used.ids) if each.used else None,
                "dataset": each.data.version if each.data else None,
                "problem": each.problem,
            }
            for each in touched
        ],
        "datasets": [
            {
                "dataset": data.version,
                "authors": [author.model_dump(mode="json") for author in data.authors],
            }
            for data in _datasets(touched)
        ],
    }


def _datasets(touched: Sequence[Touched]) -> list[Data]:
    """The datasets behind a chain, each once: most checkpoints are trained on that of their parent."""
    found: list[Data] = []
    for each in touched:
        if each.data and each.data not in found:
            found.append(each.data)
    return found


def _authors(data: Data) -> Table:
    """Who wrote the rows behind a dataset, parents first; shards that were written alike stand in one line."""
    title = f"who wrote {data.dataset} {data.version[:SHORT]}"
    table = table_of("data", "rows", "author", "prompts", "seed", title=title)
    for author in data.authors:
        made = (author.author or "no model", (author.prompts or "")[:SHORT], author.seed or "")
        table.add_row(author.stage, str(author.rows), *map(Text, made))
    return table


def show_trace(name: str, held: Held, above: Held, seen: Sequence[Sight], console: Console) -> None:
    """Where a row or person is, who wrote it, and which checkpoints have to be trained again without it."""
    table = table_of("data", "rows", "refused", "author", "prompts", "seed", "code version", title=f"{name} is in")
    for holder in (*above.holders, *held.holders):
        made = [holder.producer.get(key, "") for key in ("author", "prompts", "seed", "code_version")]
        made[1] = made[1][:SHORT]
        label = f"{holder.asset} {holder.version[:SHORT]}"
        table.add_row(label, str(holder.rows), str(holder.rejected or ""), *map(Text, made))
    if held.holders:
        console.print(table)
    elif held.searched:
        say(console, f"{name} is in none of the {held.searched} datasets and shards that could be searched")
    else:
        say(console, f"where {name} is cannot be told: no dataset or shard could be searched")
    if seen:
        sights = table_of("checkpoint", "saw it", "rows", "steps", "train again", "because", title="checkpoints")
        for sight in seen:
            steps = sorted({step for each in sight.steps.values() for step in each})
            sights.add_row(
                f"{sight.stage} {sight.checkpoint[:SHORT]}", sight.how, str(len(sight.steps) or ""), _steps(steps),
                Text("yes", "bold red") if sight.retrain else Text("no", "green"), Text(sight.why),
            )  # fmt: skip
        console.print(sights)
    for line in _unsearched(held, above):
        say(console, f"not searched, because it is not whole: {line}")
    again = sum(sight.retrain for sight in seen)
    say(console, f"checkpoints that have learned from it, or may have, and must be trained again without it: {again}")


def trace_json(name: str, held: Held, above: Held, seen: Sequence[Sight]) -> dict[str, Any]:
    return {
        "name": name,
        "data": [{**asdict(holder), "producer": dict(holder.producer)} for holder in held.holders],
        "behind": [{**asdict(holder), "producer": dict(holder.producer)} for holder in above.holders],
        "searched": held.searched,
        "not_searched": _unsearched(held, above),
        "checkpoints": [{**asdict(sight), "retrain": sight.retrain} for sight in seen],
    }


def _unsearched(*found: Held) -> list[str]:
    return sorted({line for held in found for line in held.broken})


def _steps(steps: Sequence[int]) -> str:
    """`12 steps: 1, 5, 9, ...`."""
    if not steps:
        return ""
    few = ", ".join(map(str, steps[:6])) + (", ..." if len(steps) > 6 else "")
    return f"{few} ({len(steps)})" if len(steps) > 1 else few
