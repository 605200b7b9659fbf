"""Whom a request goes to, and with which key."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from personamem_pipeline.llm.connection import Server
from tests.llm.faults import GOOD, KEY, ROOT, Reply, choice, endpoint, server


def sent_to(base_url: str) -> Any:
    """The request that the client would send to an address, built and not sent."""
    from httpx2 import Request
    from openai._models import FinalRequestOptions

    async def build() -> Request:
        async with Server(base_url, "gpt").connect(KEY, 10) as client:
            options = FinalRequestOptions.construct(method="post", url="/chat/completions", content=b"{}")
            assert client.max_retries == 0, "the retries are ours"
            return client._build_request(options)

    return asyncio.run(build())


@pytest.mark.parametrize("host", ["me.openai.azure.com", "me.cognitiveservices.azure.com"])
def test_azure_gets_its_version_and_its_own_header(host: str) -> None:
    request = sent_to(f"https://{host}/openai/deployments/gpt?api-version=2024-10-21")
    assert str(request.url) == f"https://{host}/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "url",
    [
        "https://me.openai.azure.com/openai/v1",
        "https://api.openai.com/v1",
        "http://localhost:8000/v1/",
        "https://openai.azure.com.evil.org/v1",
    ],
)
def test_everybody_else_gets_a_bearer_token(url: str) -> None:
    request = sent_to(url)
    assert str(request.url) == f"{url.rstrip('/')}/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "api-key" not in request.headers


def test_a_query_goes_along_over_http() -> None:
    seen: list[str] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        seen.append(headers["url"])
        return GOOD

    with server(handle) as url:
        asyncio.run(endpoint(f"{url}?api-version=preview").ask(choice()))
    assert seen == ["/v1/chat/completions?api-version=preview"]


def test_openai_is_imported_only_when_something_is_asked() -> None:
    probe = (
        "import sys; from personamem_pipeline.llm.client import Endpoint; import personamem_pipeline.llm.progress;"
        "Endpoint('http://127.0.0.1:1/v1', 'm', None); print('openai' in sys.modules, 'httpx2' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    assert told.split() == ["False", "False"]
