"""What a preset's training costs: tokens, operations, memory per GPU and hours, from formulas.

    personamem cost --preset published --gpus 8 --device h100

`cost_workload` counts tokens, `cost_lengths` says with which lengths, `cost_flops` and `cost_memory` turn them into
operations and bytes, `cost_device` says how fast a GPU is; here they become a step's seconds and a run's hours. Nothing of
it was timed.

A test compares with the table of memory-rl.md 3.2, the project's study, on that table's own lengths: tokens, rows and
training agree within 3 %, decoding within 20 %. Totals differ where the study's trainer does other work: it makes a pass
for the sampling policy's log-probabilities, which the loss here has anyway, and it prefills without a prefix cache. Where
the study's range of decoding begins at the mean reply of a call, this waits for the longest.

Left out, each small or unknown beforehand: padding within a micro-batch (rows are sorted by length), communication of
sharded weights (it overlaps), and what dropping rows without advantage saves where beta is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import GrpoConfig, ModelShape, Preset, SftConfig
from personamem_pipeline.training.cost_device import CAREFUL, GOOD, Device, Efficiency
from personamem_pipeline.training.cost_flops import Flops, flops, head, linear, parameters
from personamem_pipeline.training.cost_lengths import (
    Lengths,
    expected_lengths,
    sft_workload,
    workload,
    worst_lengths,
)
from personamem_pipeline.training.cost_memory import HALF, Memory, key_value_bytes, training_memory
from personamem_pipeline.training.cost_shape import model_shape
from personamem_pipeline.training.cost_workload import Templates, Workload


@dataclass(frozen=True)
class Seconds:
    """Of one optimizer step."""

    prefill: float
    decode: float
    reference: float
    train: float
    other: float

    @property
    def total(self) -> float:
        return self.prefill + self.decode + self.reference + self.train + self.other


@dataclass(frozen=True)
class Stage:
    """What one training stage costs."""

    name: str
    steps: int
    gpus: int
    samples: bool
    """Whether it samples what it trains on."""
    work: Workload
    """Of one step."""
    flops: Flops
    """Of one step, over all GPUs."""
    memory: Memory
    """Of one GPU."""
    good: Seconds
    careful: Seconds

    @property
    def hours(self) -> tuple[float, float]:
        """Of the whole run, with good and with careful utilisation."""
        return self.steps * self.good.total / 3600, self.steps * self.careful.total / 3600


@dataclass(frozen=True)
class Estimate:
    """Both training stages of a preset on some GPUs."""

    preset: Preset
    shape: ModelShape
    device: Device
    lengths: Lengths
    templates: Templates
    stages: tuple[Stage, ...]


def on_gpus(preset: Preset, gpus: int) -> Preset:
    """The preset with `gpus` processes in both stages. UserError where its batches do not divide by them."""
    stages: dict[str, SftConfig | GrpoConfig] = {}
    for name, stage in (("sft", preset.sft), ("grpo", preset.grpo)):
        try:
            stages[name] = type(stage).model_validate({**stage.model_dump(), "processes": gpus})
        except ValidationError as error:
            raise UserError(
                f"{name} on {gpus} GPUs: {error.errors()[0]['msg']}",
                where=preset.name,
                remedy="take a number of GPUs that divides the batches, or change them in the preset",
            ) from error
    return preset.model_copy(update=stages)


def estimate(
    preset: Preset,
    device: Device,
    count: Callable[[str], int],
    *,
    gpus: int | None = None,
    worst: bool = False,
    lengths: Lengths | None = None,
    templates: Templates | None = None,
) -> Estimate:
    """What SFT and GRPO cost.

    Args:
        preset: the experiment.
        device: a GPU of `cost_device.DEVICES`.
        count: tokens of a text, for the prompts' fixed text; the model's own tokenizer or one like it.
        gpus: how many; None: the preset's processes, which may differ between the stages.
        worst: with every length at its cap instead of the expected ones.
        lengths: instead of the assumed ones.
        templates: instead of the counted ones.
    """
    preset = on_gpus(preset, gpus) if gpus else preset
    shape = model_shape(preset.base)
    lengths = lengths or (worst_lengths if worst else expected_lengths)(preset)
    templates = templates or Templates.of(preset.memory, count)
    stages = (
        _sft(preset, shape, device, sft_workload(preset, lengths, templates)),
        _grpo(preset, shape, device, workload(preset, lengths, templates), lengths.longest),
    )
    return Estimate(preset, shape, device, lengths, templates, stages)


def _sft(preset: Preset, shape: ModelShape, device: Device, work: Workload) -> Stage:
    sft = preset.sft
    spent = flops(shape, work, lora=sft.lora, reference=False, sampling=False, prefix_cache=False)
    memory = training_memory(
        shape,
        work,
        micro_rows=sft.micro_batch_rows or sft.batch_size // sft.processes,
        processes=sft.processes,
        lora=sft.lora,
        reference=False,
        whole_logits=True,
        engine=0.0,
    )

    def seconds(efficiency: Efficiency) -> Seconds:
        return Seconds(0.0, 0.0, 0.0, spent.training / (sft.processes * device.flops * efficiency.train), 0.0)

    return Stage("SFT", sft.steps, sft.processes, False, work, spent, memory, seconds(GOOD), seconds(CAREFUL))


def _grpo(preset: Preset, shape: ModelShape, device: Device, work: Workload, longest: float) -> Stage:
    grpo = preset.grpo
    reference = grpo.beta > 0 or grpo.monitor_kl
    spent = flops(
        shape, work, lora=grpo.lora, reference=reference, sampling=True, prefix_cache=grpo.engine != "transformers"
    )
    memory = training_memory(
        shape,
        work,
        micro_rows=grpo.micro_batch_rows,
        processes=grpo.processes,
        lora=grpo.lora,
        reference=reference,
        whole_logits=False,
        engine=_engine_bytes(grpo, shape, device, work),
    )
    rate = grpo.processes * device.flops

    def seconds(efficiency: Efficiency) -> Seconds:
        return Seconds(
            prefill=spent.prefill / (rate * efficiency.prefill),
            decode=longest * decode_seconds(grpo, shape, device, work, efficiency),
            reference=spent.reference / (rate * efficiency.train),
            train=spent.training / (rate * efficiency.train),
            other=efficiency.other,
        )

    return Stage("GRPO", grpo.steps, grpo.processes, True, work, spent, memory, seconds(GOOD), seconds(CAREFUL))


def _engine_bytes(grpo: GrpoConfig, shape: ModelShape, device: Device, work: Workload) -> float:
    """Of one GPU: a colocated engine's share. Where the model itself samples, keys and values of all rows of a call at
    their full length; they are gone before the backward pass, so that this is on the safe side."""
    if grpo.engine == "transformers":
        rows = max(sum(turn.count for turn in work.turns if turn.call == call) for call in _calls(work))
        return key_value_bytes(shape) * work.longest * rows / grpo.processes
    return grpo.vllm_memory * device.memory if grpo.engine == "vllm_colocate" else 0.0


def _calls(work: Workload) -> set[int]:
    return {turn.call for turn in work.turns}


def decode_seconds(
    grpo: GrpoConfig, shape: ModelShape, device: Device, work: Workload, efficiency: Efficiency
) -> float:
    """Sampling a token a step for all rows of a call, on every GPU its share, with replies of mean length.

    A step reads all weights and the keys and values of every row at once (decoding is bound by memory, not by operations,
    unless very many rows go together). Rows that do not fit into the engine's cache together wait for others.
    """
    token, weights = key_value_bytes(shape), HALF * parameters(shape)
    room = (grpo.vllm_memory * device.memory - weights) / token if grpo.engine == "vllm_colocate" else float("inf")
    total = 0.0
    for call in sorted(_calls(work)):
        own = Workload(tuple(turn for turn in work.turns if turn.call == call))
        rows = own.rows / grpo.processes
        replies = own.sampled_tokens / own.rows
        context = own.prompt_tokens / own.rows + replies / 2
        held = (own.uncached_tokens + own.sampled_tokens) / grpo.processes  # a shared prefix is held once
        together = rows * min(1.0, room / held)
        step = max(
            (weights + together * context * token) / (device.bandwidth * efficiency.bandwidth),
            together * (linear(shape) + head(shape)) / device.flops,
            efficiency.generate_floor if grpo.engine == "transformers" else 0.0,
        )
        total += replies * rows / together * step
    return total
