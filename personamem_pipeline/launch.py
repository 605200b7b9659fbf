"""Which command runs a stage: one process, or one per GPU. Pure, so that Dagster's process imports no torch for it.

    python -m personamem_pipeline.training.grpo --job job.json                                   # one process
    python -m personamem_pipeline.training.launcher --processes 8 personamem_pipeline.training.grpo --job job.json
    accelerate launch --config_file docker/accelerate/fsdp2.yaml -m personamem_pipeline.training.grpo --job job.json

The last two run the same ranks. The launcher of ours is `accelerate launch` with the manners that a `Compute` relies on:
exit codes that tell, last words that are the stage's, and time to save. Whether there are GPUs is for it to find out, on
the machine where it runs: Dagster's own machine may have none.
"""

from __future__ import annotations

from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import Preset
from personamem_pipeline.settings import PROJECT

LAUNCHER = "personamem_pipeline.training.launcher"
GRACE = 120.0
"""Seconds between the wish that a stage of several processes ends and the end of those that did not."""


def processes_of(stage: str, preset: Preset) -> int:
    """How many processes the preset asks for; `stage` is an asset's name. Only training can have more than one."""
    return {"sft_checkpoint": preset.sft.processes, "grpo_checkpoint": preset.grpo.processes}.get(stage, 1)


def stage_command(module: str, processes: int, *, python: str, grace: float = GRACE) -> list[str]:
    """The command line of a stage; its own arguments (`--job FILE`) may follow.

    Args:
        module: what has `run_stage` under `if __name__ == "__main__"`.
        processes: as `processes_of` says.
        python: the interpreter, `sys.executable` on this machine.
        grace: seconds to save in, for several processes; one process is killed by whoever started it.
    """
    if processes == 1:
        return [python, "-m", module]
    patience = [] if grace == GRACE else ["--grace", f"{grace:g}"]
    return [python, "-m", LAUNCHER, "--processes", str(processes), *patience, module]


def accelerate_config(processes: int, gpus: int) -> Path:
    """The configuration of `accelerate launch` for several processes on a machine with `gpus` GPUs (0: on its CPU)."""
    if 0 < gpus < processes:
        raise UserError(
            f"the preset asks for {processes} processes, and this machine has {gpus} GPU(s)",
            expected="one GPU per process",
            remedy="lower `processes` in the preset's section, or run on a machine with more GPUs",
        )
    return PROJECT / "docker" / "accelerate" / ("fsdp2.yaml" if gpus else "cpu.yaml")
