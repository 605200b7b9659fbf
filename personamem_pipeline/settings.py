"""The only place that reads the environment.

Everything that differs between a laptop and a cluster is a setting; everything that differs between experiments is in a
preset (`presets/`). Secrets are `SecretStr`: they are never printed, stored or logged.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from personamem_pipeline.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseModel):
    """Where things are. Built once by `load_settings()` and passed on; tests build their own."""

    model_config = ConfigDict(frozen=True)
    home: Path
    """Everything this installation produces: store, MLflow database, scratch, reports."""
    preset: str
    """Name of a file in `presets/`, or a path to one."""
    llm_base_url: str | None
    """Base URL of an OpenAI-compatible endpoint; None means the built-in simulator."""
    llm_model: str
    llm_api_key: SecretStr | None
    mlflow_uri: str
    seed: int | None
    """Overrides the preset's seed of the training stages; None keeps the preset's."""

    @property
    def store(self) -> Path:
        return self.home / "store"


def load_settings() -> Settings:
    """Settings from `PERSONAMEM_*` variables, with defaults that need nothing set."""
    home = Path(os.environ.get("PERSONAMEM_HOME", PROJECT / ".personamem")).absolute()
    base_url = os.environ.get("PERSONAMEM_LLM_BASE_URL") or None
    # OpenAI's own variable is a key for OpenAI and goes to no other host.
    openai = urlsplit(base_url or "").hostname == "api.openai.com"
    key = os.environ.get("PERSONAMEM_LLM_API_KEY") or (os.environ.get("OPENAI_API_KEY") if openai else None)
    seed = os.environ.get("PERSONAMEM_SEED")
    return Settings(
        home=home,
        preset=os.environ.get("PERSONAMEM_PRESET", "demo"),
        llm_base_url=base_url,
        llm_model=os.environ.get("PERSONAMEM_LLM_MODEL", "simulator/1"),
        llm_api_key=SecretStr(key) if key else None,
        mlflow_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}",
        seed=_whole(seed, "PERSONAMEM_SEED") if seed else None,
    )


def _whole(text: str, variable: str) -> int:
    try:
        return int(text)
    except ValueError:
        problem = f"{text!r} is not a whole number"
        raise UserError(problem, where=variable, remedy=f"unset it, or export {variable}=1") from None
