"""A pod is told this machine's settings, and no secret of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from personamem_pipeline.settings import load_settings
from resources.pods.environment import stage_environment

SET = {
    "PERSONAMEM_LLM_BASE_URL": "http://vllm:8000/v1",
    "PERSONAMEM_LLM_MODEL": "author",
    "PERSONAMEM_LLM_API_KEY": "sk-secret",
    "PERSONAMEM_LLM_CONCURRENCY": "7",
    "PERSONAMEM_LLM_TIMEOUT": "30",
    "PERSONAMEM_LLM_MAX_TOKENS": "100",
    "PERSONAMEM_LLM_STRUCTURED": "text",
    "PERSONAMEM_LLM_CACHE": "off",
    "PERSONAMEM_LLM_PRICE_INPUT": "1.5",
    "PERSONAMEM_LLM_PRICE_OUTPUT": "2",
    "PERSONAMEM_LLM_BUDGET_TOKENS": "1000",
    "PERSONAMEM_LLM_BUDGET_DOLLARS": "5",
    "PERSONAMEM_LLM_BATCH": "on",
    "PERSONAMEM_LLM_BATCH_POLL_SECONDS": "2",
    "PERSONAMEM_READER_BASE_URL": "http://reader/v1",
    "PERSONAMEM_READER_MODEL": "reader",
    "PERSONAMEM_READER_API_KEY": "sk-other-secret",
    "PERSONAMEM_READER_PRICE_INPUT": "1",
    "PERSONAMEM_READER_PRICE_OUTPUT": "1",
    "PERSONAMEM_EMBEDDING_BASE_URL": "http://embed/v1",
    "PERSONAMEM_EMBEDDING_API_KEY": "sk-third-secret",
    "PERSONAMEM_VLLM_BASE_URL": "http://vllm:8000",
    "PERSONAMEM_S3_ENDPOINT": "http://minio:9000",
}
OF_THE_MACHINE = {
    "home", "store_url", "mlflow_uri", "compute", "pod_template", "kubeconfig", "shard_runs", "image", "git_commit",
    "preset", "seed", "llm_api_key", "reader_api_key", "embedding_api_key",
}  # fmt: skip


@pytest.mark.parametrize("variables", [{}, SET])
def test_a_pod_reads_the_same_settings(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def clear() -> None:
        for name in [name for name in os.environ if name.startswith(("PERSONAMEM_", "OPENAI_"))]:
            monkeypatch.delenv(name)

    clear()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    here = load_settings()
    told = stage_environment(here)
    assert not [value for value in told.values() if "secret" in value]
    clear()
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    there = load_settings()
    assert there.model_dump(exclude=OF_THE_MACHINE) == here.model_dump(exclude=OF_THE_MACHINE)
