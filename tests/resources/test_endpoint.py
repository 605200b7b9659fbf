from __future__ import annotations

import pytest

from resources.endpoint import EndpointResource


def test_the_key_comes_from_the_environment_and_is_in_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAMEM_LLM_API_KEY", "secret-key")
    resource = EndpointResource(base_url="http://127.0.0.1:1/v1", model="m")
    endpoint = resource.open()
    assert endpoint.api_key == "secret-key"
    assert "secret-key" not in repr(resource) + repr(endpoint) + resource.model_dump_json()


def test_every_opening_counts_its_own_usage() -> None:
    resource = EndpointResource(model="simulator/1")
    assert resource.open().usage is not resource.open().usage
