"""The commands about presets: list and check them, say what training one costs. Only arguments; the work is the rooms'."""

from __future__ import annotations

import argparse
import json

from personamem_pipeline.arguments import positive
from personamem_pipeline.training.cost_device import DEVICES


def add_training_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `presets` and `cost` to the commands of `personamem`."""
    presets = commands.add_parser("presets", help="list the presets, or check one")
    presets.set_defaults(run=_presets)
    presets.add_argument("name", nargs="?", help="a preset's name, or a path to a .yaml file: check it")

    cost = commands.add_parser("cost", help="estimate what training a preset takes: tokens, memory per GPU, hours")
    cost.set_defaults(run=_cost)
    cost.add_argument("--preset", metavar="NAME", help="a preset's name, or a path; default: PERSONAMEM_PRESET")
    cost.add_argument("--gpus", type=positive, metavar="N", help="default: the preset's processes")
    cost.add_argument("--device", choices=sorted(DEVICES), default="h100", help="which GPU; default: h100")
    cost.add_argument("--worst", action="store_true", help="every chunk, memory and answer at its cap")
    cost.add_argument("--json", action="store_true", help="the figures as JSON")


def _presets(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.presets import PRESETS, load_preset

    names = [arguments.name] if arguments.name else sorted(path.stem for path in PRESETS.glob("*.yaml"))
    for name in names:
        preset = load_preset(name)
        seeds = preset.data.seeds
        persons = (
            f"{seeds.training_persons} persons to train on, {seeds.benchmark_persons} to test"
            if seeds
            else "released files"
        )
        print(
            f"{preset.name}: {persons}; {preset.base.path}; "
            f"SFT {preset.sft.steps} steps, GRPO {preset.grpo.steps} x {preset.grpo.prompts_per_step} questions "
            f"x {preset.grpo.rollouts} rollouts; {preset.digest[:12]}"
        )


def _cost(arguments: argparse.Namespace) -> None:
    from personamem_pipeline.conversations.counting import count_gpt4o
    from personamem_pipeline.presets import load_preset
    from personamem_pipeline.settings import load_settings
    from personamem_pipeline.training.cost import estimate
    from personamem_pipeline.training.cost_table import as_json, show

    preset = load_preset(arguments.preset or load_settings().preset)
    made = estimate(
        preset,
        DEVICES[arguments.device],
        lambda text: count_gpt4o([text])[0],
        gpus=arguments.gpus,
        worst=arguments.worst,
    )
    if arguments.json:
        print(json.dumps(as_json(made), indent=1))
    else:
        show(made)
