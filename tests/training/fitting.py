"""A small supervised run: what tests of it share, and one rank of it as a command.

torchrun --nproc-per-node 2 -m tests.training.fitting OUT
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import Qwen3Config, Qwen3ForCausalLM

from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.presets import load_preset
from personamem_pipeline.progress import Progress
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.training.checkpoints import Papers, save_checkpoint
from personamem_pipeline.training.supervised import FitConfig, TrainRow, fit
from personamem_pipeline.training.tokenizer import build_tokenizer

TEXTS = ["user: I left my bamboo whisk.\n- drinks: green tea\n(a) You could try green tea. \\boxed{a} b c d none"]


def renderer() -> Renderer:
    return Renderer(build_tokenizer(TEXTS))


def tiny(vocabulary: int) -> Any:
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocabulary, tie_word_embeddings=True, **size, **heads)).float()


def rows(number: int, vocabulary: int) -> list[TrainRow]:
    """Rows of many lengths, which say nothing."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 9, (number, 2), generator=draw).tolist()
    return [
        TrainRow(*(tuple(torch.randint(4, vocabulary, (n,), generator=draw).tolist()) for n in (a + 3, b)))
        for a, b in lengths
    ]


def config(**changes: Any) -> FitConfig:
    figures = {
        "steps": 3, "batch_size": 4, "learning_rate": 1e-2, "warmup_share": 0.0, "max_grad_norm": 1e9, "save_steps": 1,
        "seed": 0,
    }  # fmt: skip
    return FitConfig(**(figures | changes))


def job(root: Path) -> StageJob:
    return StageJob(
        stage="sft_checkpoint", store=str(root / "store"), inputs={}, preset=load_preset("demo"), code_version="test"
    )


@contextmanager
def recorded_gradients() -> Iterator[list[list[torch.Tensor]]]:
    """The gradients that each optimizer step of this process is taken along."""
    steps: list[list[torch.Tensor]] = []

    def record(optimizer: Any, args: Any, kwargs: Any) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        steps.append([weight.grad.clone() for weight in weights])

    hook = register_optimizer_step_pre_hook(record)
    yield steps
    hook.remove()


@contextmanager
def recorded_rows(model: Any, batch: list[TrainRow]) -> Iterator[list[set[int]]]:
    """Which rows of `batch` went through the model of this process before each optimizer step, told by their tokens."""
    steps: list[set[int]] = []
    waiting: set[int] = set()
    places = {row.prompt_ids + row.completion_ids: place for place, row in enumerate(batch)}
    assert len(places) == len(batch), "rows are told apart by their tokens"

    def see(module: Any, args: Any, kwargs: Any) -> None:
        for ids, mask in zip(kwargs["input_ids"], kwargs["attention_mask"], strict=True):
            waiting.add(places[tuple(ids[mask.bool()].tolist())])

    def step(optimizer: Any, args: Any, kwargs: Any) -> None:
        steps.append(set(waiting))
        waiting.clear()

    hooks = [model.register_forward_pre_hook(see, with_kwargs=True), register_optimizer_step_pre_hook(step)]
    yield steps
    for hook in hooks:
        hook.remove()


def main(out: Path) -> None:
    """Train as one of several processes, store the checkpoint, and leave what this rank saw of it in `out`."""
    render = renderer()
    vocabulary, ranks = len(render.tokenizer), int(os.environ["WORLD_SIZE"])
    figures = config(processes=ranks, batch_size=8, micro_batch_rows=2)
    model, batch = tiny(vocabulary), rows(24, vocabulary)
    with recorded_gradients() as gradients, recorded_rows(model, batch) as consumed:
        trainer = fit(model, render.tokenizer, batch, figures, out / "scratch", Progress())
    work = job(out)
    version = save_checkpoint(work, trainer, render.tokenizer, work.preset.sft, Papers())
    torch.save((gradients, version, consumed, trainer.seen.steps), out / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
