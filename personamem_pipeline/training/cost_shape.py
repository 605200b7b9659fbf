"""The figures of the model whose training is estimated, read from its config.json or from the preset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import BaseConfig, ModelShape
from personamem_pipeline.settings import PROJECT

_KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
    "heads": "num_attention_heads",
    "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
}


def model_shape(base: BaseConfig) -> ModelShape:
    """The decoder's figures: of config.json where the model is at hand, else of the preset.

    Raises:
        UserError: there is neither, or config.json is not that of a dense decoder.
    """
    path = (PROJECT / base.path / "config.json").resolve()
    if not path.is_file():
        if base.shape is None:
            raise UserError(
                "the model is not at hand, and the preset does not say how large it is",
                where=path,
                expected="a Hugging Face model directory at base.path, or base.shape in the preset",
                remedy="put the model there, or copy the figures of its config.json into base.shape",
            )
        return base.shape
    return _from_config(path)


def _from_config(path: Path) -> ModelShape:
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"not JSON: {error}", where=path, remedy="copy the model again") from error
    missing = [key for key in _KEYS.values() if key not in config]
    if missing or any("expert" in key for key in config):
        problem = f"there is no {missing[0]}" if missing else "a mixture of experts"
        raise UserError(problem, where=path, expected="the figures of a dense decoder", remedy="take another base.path")
    figures = {name: config[key] for name, key in _KEYS.items()}
    heads = config["num_attention_heads"]
    return ModelShape(
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        tied=config.get("tie_word_embeddings", False),
        **figures,
    )
