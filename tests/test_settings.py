"""Settings from the environment: defaults that need nothing, and a clear word about what cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.settings import load_settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PERSONAMEM_") or name in ("OPENAI_API_KEY", "MLFLOW_TRACKING_URI"):
            monkeypatch.delenv(name)


def test_a_seed_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_SEED", "three")
    with pytest.raises(UserError, match="PERSONAMEM_SEED: 'three' is not a whole number"):
        load_settings()
    monkeypatch.setenv("PERSONAMEM_SEED", "3")
    assert load_settings().seed == 3
    monkeypatch.setenv("PERSONAMEM_SEED", "-3")
    assert load_settings().seed == -3


def test_keys_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_LLM_API_KEY", "sk-very-secret")
    monkeypatch.setenv("PERSONAMEM_READER_API_KEY", "sk-very-secret-too")
    settings = load_settings()
    assert "very-secret" not in repr(settings) + settings.model_dump_json()
    assert settings.llm_api_key is not None and settings.llm_api_key.get_secret_value() == "sk-very-secret"
    assert settings.reader_api_key is not None


@pytest.mark.parametrize(
    ("url", "sent"), [("https://api.openai.com/v1", True), ("https://models.example.org/v1", False), ("", False)]
)
def test_openais_key_goes_to_openai_only(url: str, sent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("PERSONAMEM_LLM_MODEL", "m")
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", url)
    assert (load_settings().llm_api_key is not None) == sent
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", "https://api.openai.com/v1")
    monkeypatch.setenv("PERSONAMEM_READER_BASE_URL", url or "http://localhost/v1")
    monkeypatch.setenv("PERSONAMEM_READER_MODEL", "m")
    assert (load_settings().reader_api_key is not None) == sent, "the author's key goes to no other address either"


def test_without_anything_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERSONAMEM_HOME", str(tmp_path))
    settings = load_settings()
    assert settings.response_cache == tmp_path / "cache" / "llm.sqlite"
    assert settings.llm_structured == "auto"
    assert settings.readers == ("simulator/1", "guesser/1")
    assert settings.llm_options["batch"] is False
    assert settings.llm_options["price_input"] is None


@pytest.mark.parametrize(
    ("variable", "text", "option", "value"),
    [
        ("CONCURRENCY", "12", "concurrency", 12),
        ("TIMEOUT", "2.5", "timeout", 2.5),
        ("MAX_TOKENS", "100", "max_tokens", 100),
        ("STRUCTURED", "text", "structured", "text"),
        ("CACHE", "off", "cache", None),
        ("PRICE_INPUT", "0.15", "price_input", 0.15),
        ("PRICE_OUTPUT", "0", "price_output", 0.0),
        ("BUDGET_TOKENS", "1000000", "budget_tokens", 1_000_000),
        ("BUDGET_DOLLARS", "5", "budget_dollars", 5.0),
        ("BATCH", "on", "batch", True),
        ("BATCH_POLL_SECONDS", "0.5", "batch_poll_seconds", 0.5),
    ],
)
def test_every_variable_arrives(
    variable: str, text: str, option: Any, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PERSONAMEM_LLM_{variable}", text)
    assert load_settings().llm_options[option] == value


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("CONCURRENCY", "0", "out of range"),
        ("CONCURRENCY", "8.5", "not a whole number"),
        ("MAX_TOKENS", "many", "not a whole number"),
        ("PRICE_INPUT", "-1", "out of range"),
        ("PRICE_INPUT", "$2", "no number"),
        ("PRICE_OUTPUT", "nan", "out of range"),
        ("BUDGET_DOLLARS", "inf", "out of range"),
        ("STRUCTURED", "yes", "none of its values"),
        ("CACHE", "no", "none of its values"),
        ("BATCH", "1", "none of its values"),
    ],
)
def test_what_cannot_be_used_is_named(variable: str, text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"PERSONAMEM_LLM_{variable}", text)
    with pytest.raises(UserError, match=f"PERSONAMEM_LLM_{variable}: .*{says}"):
        load_settings()


def test_a_second_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", "http://one/v1")
    monkeypatch.setenv("PERSONAMEM_LLM_MODEL", "author")
    monkeypatch.setenv("PERSONAMEM_LLM_API_KEY", "key")
    assert load_settings().readers == ("author",)
    monkeypatch.setenv("PERSONAMEM_READER_MODEL", "second")
    settings = load_settings()
    assert settings.readers == ("author", "second")
    assert settings.reader_base_url == "http://one/v1"
    assert settings.reader_api_key == settings.llm_api_key, "the same address takes the same key"
    monkeypatch.setenv("PERSONAMEM_READER_BASE_URL", "http://two/v1")
    assert load_settings().reader_api_key is None
    monkeypatch.delenv("PERSONAMEM_READER_MODEL")
    with pytest.raises(UserError, match="PERSONAMEM_READER_BASE_URL: a second reader has an address and no model"):
        load_settings()


def test_an_address_needs_a_model_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", "http://localhost:8000/v1")
    with pytest.raises(UserError, match="no model"):
        load_settings()
    monkeypatch.setenv("PERSONAMEM_LLM_MODEL", "m")
    for url in ("http://me:hunter2@one/v1", "http://one/v1?key=hunter2", "http://me:a/hunter2@one/v1"):
        monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", url)
        with pytest.raises(UserError, match="PERSONAMEM_LLM_API_KEY") as raised:
            load_settings()
        assert "hunter2" not in str(raised.value)
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", "https://x.openai.azure.com/openai/deployments/d?api-version=1")
    assert load_settings().llm_base_url


def test_a_dollar_budget_needs_the_second_readers_prices_before_anything_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"LLM_BASE_URL": "http://one/v1", "LLM_MODEL": "m", "READER_MODEL": "n"}.items():
        monkeypatch.setenv(f"PERSONAMEM_{name}", value)
    monkeypatch.setenv("PERSONAMEM_LLM_BUDGET_DOLLARS", "20")
    with pytest.raises(UserError, match="PERSONAMEM_READER_PRICE_INPUT"):
        load_settings()
    monkeypatch.setenv("PERSONAMEM_READER_PRICE_INPUT", "1")
    monkeypatch.setenv("PERSONAMEM_READER_PRICE_OUTPUT", "1")
    assert load_settings().llm_budget_dollars == 20


def test_the_address_of_a_vllm_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().vllm_base_url is None
    monkeypatch.setenv("PERSONAMEM_VLLM_BASE_URL", "http://gpu-1:8000")
    assert load_settings().vllm_base_url == "http://gpu-1:8000"
    monkeypatch.setenv("PERSONAMEM_VLLM_BASE_URL", "http://gpu-1:8000/v1")
    with pytest.raises(UserError, match="has a path in it"):
        load_settings()
    monkeypatch.setenv("PERSONAMEM_VLLM_BASE_URL", "http://me:hunter2@gpu-1:8000")
    with pytest.raises(UserError, match="take it out of the address") as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "address", "remedy"),
    [
        ("MLFLOW_TRACKING_URI", "postgresql://mlflow:hunter2@db/mlflow", "MLFLOW_TRACKING_PASSWORD"),
        ("MLFLOW_TRACKING_URI", "postgresql://mlflow:hunter2/[@db/mlflow", "MLFLOW_TRACKING_PASSWORD"),
        ("MLFLOW_TRACKING_URI", "postgresql://db/mlflow?password=hunter2", "http.s. address of an MLflow server"),
        ("MLFLOW_TRACKING_URI", "postgresql:///mlflow?host=db&password=hunter2", "MLFLOW_TRACKING_PASSWORD"),
        ("MLFLOW_TRACKING_URI", "https://hunter2@mlflow", "MLFLOW_TRACKING_USERNAME"),
        ("PERSONAMEM_S3_ENDPOINT", "http://key:hunter2@minio:9000", "AWS_SECRET_ACCESS_KEY"),
        ("PERSONAMEM_S3_ENDPOINT", "key:hunter2@minio:9000", "AWS_SECRET_ACCESS_KEY"),
        ("PERSONAMEM_STORE", "s3://key:hunter2@bucket/prefix", "AWS_ACCESS_KEY_ID"),
        ("PERSONAMEM_STORE", "s3://bucket/prefix?secret_key=hunter2", "AWS_ACCESS_KEY_ID"),
        ("PERSONAMEM_EMBEDDING_BASE_URL", "http://key:hunter2@one/v1", "PERSONAMEM_EMBEDDING_API_KEY"),
    ],
)
def test_no_address_holds_a_secret(variable: str, address: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, address)
    with pytest.raises(UserError, match=f"{variable}: (.|\n)*{remedy}") as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("MLFLOW_TRACKING_URI", "http://mlflow:5000"),
        ("MLFLOW_TRACKING_URI", "sqlite:////home/me@work/mlflow.db"),
        ("MLFLOW_TRACKING_URI", "databricks://profile"),
        ("PERSONAMEM_S3_ENDPOINT", "http://minio:9000"),
        ("PERSONAMEM_STORE", "s3://bucket/prefix"),
        ("PERSONAMEM_STORE", "/data/me@work/store"),
        ("PERSONAMEM_STORE", "me@work/store"),
    ],
)
def test_any_other_address_is_taken_as_it_is(variable: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, address)
    settings = load_settings()
    assert address in (settings.mlflow_uri, settings.s3_endpoint, settings.store)


def test_an_image_is_named_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().image is None
    for digest in ("sha256:" + "a" * 64, "registry:5000/trainer@sha256:" + "a" * 64):
        monkeypatch.setenv("PERSONAMEM_IMAGE", digest)
        assert load_settings().image == digest
    for other in ("local/trainer:checkout", "sha256:" + "A" * 64, "a" * 64, "trainer:1@sha256:" + "a" * 63):
        monkeypatch.setenv("PERSONAMEM_IMAGE", other)
        with pytest.raises(UserError, match=r"PERSONAMEM_IMAGE: .* is no digest of an image"):
            load_settings()


def test_where_stages_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (load_settings().compute, load_settings().shard_runs, load_settings().kubeconfig) == (
        "local",
        "together",
        None,
    )
    monkeypatch.setenv("PERSONAMEM_COMPUTE", "kubernetes")
    monkeypatch.setenv("PERSONAMEM_KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PERSONAMEM_STORE", "s3://bucket/personamem")
    settings = load_settings()
    assert (settings.compute, settings.kubeconfig) == ("kubernetes", tmp_path / "config")
    assert settings.store == "s3://bucket/personamem"
    monkeypatch.setenv("PERSONAMEM_COMPUTE", "slurm")
    with pytest.raises(UserError, match="local or kubernetes"):
        load_settings()
