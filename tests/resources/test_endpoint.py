from __future__ import annotations

from pathlib import Path

import pytest

from personamem_pipeline.settings import load_settings
from resources.endpoint import EndpointResource
from tests.llm.faults import choices


def test_the_key_comes_from_the_environment_and_is_in_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_LLM_API_KEY", "secret-key")
    resource = EndpointResource(base_url="http://127.0.0.1:1/v1", model="m")
    endpoint = resource.open()
    assert endpoint.api_key == "secret-key"
    assert "secret-key" not in repr(resource) + repr(endpoint) + resource.model_dump_json()


def test_every_opening_counts_its_own_usage_and_all_share_the_runs_ledger() -> None:
    resource = EndpointResource(model="simulator/1", reader_model="guesser/1")
    first, again, second = resource.open(), resource.open(), resource.open_second_reader()
    assert second is not None
    assert first.usage is not again.usage
    assert first.ledger is again.ledger is second.ledger is not None


def test_settings_arrive_at_the_author_and_the_second_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "HOME": str(tmp_path), "LLM_BASE_URL": "http://one/v1", "LLM_MODEL": "author", "LLM_API_KEY": "one",
        "LLM_BUDGET_TOKENS": "5", "LLM_PRICE_INPUT": "1", "LLM_PRICE_OUTPUT": "2", "LLM_CONCURRENCY": "3",
        "READER_BASE_URL": "http://two/v1", "READER_MODEL": "second", "READER_API_KEY": "two",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"PERSONAMEM_{name}", value)
    resource = EndpointResource.configured(load_settings())
    author, second = resource.open(), resource.open_second_reader()
    assert second is not None
    assert (author.base_url, author.model, author.api_key) == ("http://one/v1", "author", "one")
    assert (second.base_url, second.model, second.api_key) == ("http://two/v1", "second", "two")
    assert (author.concurrency, author.budget_tokens, author.price_input) == (3, 5, 1.0)
    assert (second.concurrency, second.budget_tokens, second.price_input) == (3, 5, None)
    assert author.cache == second.cache == str(tmp_path / "cache" / "llm.sqlite")
    assert second.variables == "PERSONAMEM_READER"


def test_without_settings_the_simulator_writes_and_its_guesser_reads_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PERSONAMEM_HOME", str(tmp_path))
    resource = EndpointResource.configured(load_settings())
    second = resource.open_second_reader()
    assert second is not None and second.model == "guesser/1"
    assert len(second.map(choices(3))) == len(resource.open().map(choices(3))) == 3
    assert (tmp_path / "cache" / "llm.sqlite").exists()


def test_a_real_author_has_no_second_reader_unless_one_is_named() -> None:
    assert EndpointResource(base_url="http://one/v1", model="author").open_second_reader() is None
