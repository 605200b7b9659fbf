"""How `personamem cost` shows an estimate: as tables for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from personamem_pipeline.training.cost import Estimate, Stage
from personamem_pipeline.training.cost_device import CAREFUL, GOOD
from personamem_pipeline.training.cost_flops import parameters

Cell = Callable[[Stage], str]
GIGA, PETA = 1e9, 1e15


def show(made: Estimate) -> None:
    """Print it as tables, with what it assumes below them."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{made.preset.name}: {made.preset.base.path}, {parameters(made.shape) / GIGA:.2f} B parameters, "
        f"on {_gpus(made)} {made.device.name}"
    )
    for title, rows in (
        ("One optimizer step, all GPUs together", _step_rows()),
        ("Memory of one GPU, GB", _memory_rows(made)),
        ("The whole run", _run_rows()),
    ):
        console.print(_table(title, rows, made.stages))
    for line in _warnings(made):
        console.print(f"[bold]{line}[/]")
    console.print("\nAssumptions:")
    for line in _assumptions(made):
        console.print(f"- {line}")


def _gpus(made: Estimate) -> str:
    sft, grpo = made.preset.sft.processes, made.preset.grpo.processes
    return f"{grpo} x" if sft == grpo else f"{sft} (SFT) and {grpo} (GRPO) x"


def _table(title: str, rows: list[tuple[str, Cell]], stages: tuple[Stage, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", min_width=66)
    table.add_column("")
    for stage in stages:
        table.add_column(stage.name, justify="right")
    for name, cell in rows:
        table.add_row(name, *(cell(stage) for stage in stages))
    return table


def _step_rows() -> list[tuple[str, Cell]]:
    return [
        ("rows (turns)", lambda s: f"{s.work.rows:,.0f}"),
        ("tokens trained on, millions", lambda s: _millions(s.work.tokens)),
        ("  read by the engine", lambda s: _millions(s.work.prompt_tokens) if s.samples else "-"),
        ("  read with a prefix cache", lambda s: _millions(s.work.uncached_tokens) if s.samples else "-"),
        ("  sampled", lambda s: _millions(s.work.sampled_tokens) if s.samples else "-"),
        ("longest row, tokens", lambda s: f"{s.work.longest:,.0f}"),
        ("PFLOP: prefill", lambda s: _peta(s.flops.prefill)),
        ("  decode", lambda s: _peta(s.flops.decode)),
        ("  reference (KL)", lambda s: _peta(s.flops.reference)),
        ("  forward, backward", lambda s: _peta(s.flops.training)),
        ("seconds: prefill", lambda s: _seconds(s.good.prefill, s.careful.prefill)),
        ("  decode", lambda s: _seconds(s.good.decode, s.careful.decode)),
        ("  reference (KL)", lambda s: _seconds(s.good.reference, s.careful.reference)),
        ("  forward, backward", lambda s: _seconds(s.good.train, s.careful.train)),
        ("  weight sync, judge, gaps", lambda s: _seconds(s.good.other, s.careful.other)),
        ("  together", lambda s: _seconds(s.good.total, s.careful.total)),
    ]


def _memory_rows(made: Estimate) -> list[tuple[str, Cell]]:
    parts = {
        "weights": "weights, float32",
        "gradients": "gradients",
        "optimizer": "Adam's moments",
        "reference": "reference (KL)",
        "gathered": "bfloat16 weights at hand",
        "checkpoints": "activation checkpoints",
        "layer": "one layer's activations",
        "head": "output head",
        "engine": "sampling engine",
        "total": f"together, of {made.device.memory / GIGA:.0f}",
    }

    def cell(part: str) -> Cell:
        return lambda stage: _giga(getattr(stage.memory, part))

    return [(label, cell(part)) for part, label in parts.items()]


def _run_rows() -> list[tuple[str, Cell]]:
    return [
        ("steps", lambda s: f"{s.steps:,}"),
        ("tokens trained on, billions", lambda s: f"{s.steps * s.work.tokens / GIGA:.2f}"),
        ("EFLOP", lambda s: f"{s.steps * s.flops.total / 1e18:.2f}"),
        ("hours", lambda s: _range(*s.hours)),
        ("GPU hours", lambda s: _range(*(s.gpus * hours for hours in s.hours))),
    ]


def _warnings(made: Estimate) -> list[str]:
    lines = []
    for stage in made.stages:
        if stage.memory.total > made.device.memory:
            lines.append(f"{stage.name} does not fit into {made.device.memory / GIGA:.0f} GB by this estimate.")
        if stage.work.longest > made.shape.context:
            lines.append(f"{stage.name}: the longest row is over the model's context of {made.shape.context:,} tokens.")
    return lines


def _assumptions(made: Estimate) -> list[str]:
    lengths, templates, memory = made.lengths, made.templates, made.preset.memory
    read = (
        f"chats of {lengths.chat:,.0f} tokens"
        if memory.protocol == "full_context"
        else f"{lengths.chunks} chunks of {lengths.chunk:,.0f} tokens, memories of {lengths.memory:,.0f}"
    )
    return [
        f"{read}, answers of {lengths.answer:,.0f}, questions of {lengths.choice:,.0f} with options and "
        f"{lengths.open:,.0f} without (--worst: every length at its cap)",
        f"fixed text: {templates.write.total} tokens of a writing prompt, {templates.choice.total} of a question's, by "
        "gpt-4o's tokenizer",
        f"the longest reply of a call is {lengths.longest:g} times the mean, and everybody waits for it",
        f"{GOOD.train:.0%} and {CAREFUL.train:.0%} of {made.device.flops / 1e12:.0f} TFLOPS in training (recomputation "
        f"counted), {GOOD.prefill:.0%} in prefill, {GOOD.bandwidth:.0%} of {made.device.bandwidth / 1e12:.2f} TB/s in "
        f"decoding, {GOOD.other:.0f} s a step for sync, judge and gaps",
        "no row is dropped for want of advantage; none is padded; nothing waits for communication",
        "sources: personamem_pipeline/training/cost*.py. Estimates, not measurements: take +-30 %",
    ]


def as_json(made: Estimate) -> dict[str, Any]:
    """The same figures for programs: bytes, operations, seconds and hours."""
    return {
        "preset": made.preset.name,
        "device": asdict(made.device),
        "shape": made.shape.model_dump(),
        "lengths": asdict(made.lengths),
        "templates": asdict(made.templates),
        "efficiency": {"good": asdict(GOOD), "careful": asdict(CAREFUL)},
        "stages": [
            {
                "name": stage.name,
                "gpus": stage.gpus,
                "steps": stage.steps,
                **{
                    name: round(getattr(stage.work, name), 3)
                    for name in ("rows", "tokens", "prompt_tokens", "uncached_tokens", "sampled_tokens", "longest")
                },
                "flops": {**asdict(stage.flops), "total": stage.flops.total},
                "memory": {**asdict(stage.memory), "total": stage.memory.total},
                "seconds": {
                    name: {**asdict(seconds), "total": seconds.total}
                    for name, seconds in (("good", stage.good), ("careful", stage.careful))
                },
                "hours": dict(zip(("good", "careful"), stage.hours, strict=True)),
            }
            for stage in made.stages
        ],
        "warnings": _warnings(made),
    }


def _millions(value: float) -> str:
    return f"{value / 1e6:.2f}"


def _peta(value: float) -> str:
    return f"{value / PETA:.3g}" if value else "-"


def _giga(value: float) -> str:
    return f"{value / GIGA:.1f}" if value else "-"


def _seconds(good: float, careful: float) -> str:
    return _range(good, careful) if good else "-"


def _range(good: float, careful: float) -> str:
    low, high = (f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in (good, careful))
    return low if low == high else f"{low} - {high}"
