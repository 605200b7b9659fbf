"""Settings from the environment: defaults that need nothing, and a clear word about what cannot be used."""

from __future__ import annotations

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.settings import load_settings


def test_a_seed_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_SEED", "three")
    with pytest.raises(UserError, match="PERSONAMEM_SEED: 'three' is not a whole number"):
        load_settings()
    monkeypatch.setenv("PERSONAMEM_SEED", "3")
    assert load_settings().seed == 3


def test_keys_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_LLM_API_KEY", "sk-very-secret")
    settings = load_settings()
    assert "very-secret" not in repr(settings) + settings.model_dump_json()
    assert settings.llm_api_key is not None and settings.llm_api_key.get_secret_value() == "sk-very-secret"


@pytest.mark.parametrize(
    ("url", "sent"), [("https://api.openai.com/v1", True), ("https://models.example.org/v1", False), ("", False)]
)
def test_openais_key_goes_to_openai_only(url: str, sent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSONAMEM_LLM_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", url)
    assert (load_settings().llm_api_key is not None) == sent
