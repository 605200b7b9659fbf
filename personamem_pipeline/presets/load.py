"""One experiment as a file, and reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets.data import DataConfig
from personamem_pipeline.presets.evaluation import EvaluationConfig
from personamem_pipeline.presets.section import Section
from personamem_pipeline.presets.training import BaseConfig, GrpoConfig, MemoryConfig, SftConfig
from personamem_pipeline.settings import PROJECT

PRESETS = PROJECT / "presets"


class Preset(Section):
    """One experiment."""

    name: str
    data: DataConfig
    memory: MemoryConfig
    base: BaseConfig
    sft: SftConfig
    grpo: GrpoConfig
    evaluation: EvaluationConfig


def load_preset(name: str, *, seed: int | None = None) -> Preset:
    """Read `presets/<name>.yaml` (or the file at that path). `seed` replaces the training stages' seeds."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    values = _read(path)
    if seed is not None:
        for stage in ("sft", "grpo"):
            values[stage] = {**values.get(stage, {}), "seed": seed}
    try:
        return Preset.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{key}: {first['msg']}",
            where=path,
            expected="the keys and ranges described in personamem_pipeline/presets/",
            remedy=f"correct {key} ({error.error_count()} problem(s) in all)",
        ) from error


def _read(path: Path, below: tuple[str, ...] = ()) -> dict[str, Any]:
    """The file's sections over those of the preset that it `extends`: key by key within a section, deeper values whole."""
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise UserError("no such preset", where=path, expected=f"one of {known}, or a path to a .yaml file") from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {error}", where=path) from error
    if not isinstance(values, dict):
        raise UserError("a preset is a mapping of sections", where=path, expected="see presets/demo.yaml")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    chain = (*below, path.stem)
    if not isinstance(parent, str) or parent in chain:
        raise UserError(f"extends: {parent!r}", where=path, expected="the name of another preset in presets/")
    inherited = _read(PRESETS / f"{parent}.yaml", chain)
    merged = {
        section: {**inherited[section], **own}
        if isinstance(own, dict) and isinstance(inherited.get(section), dict)
        else own
        for section, own in values.items()
    }
    return {**inherited, **merged}
