"""Servers that take no JSON schemas, or another name for the cap, still give records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.dialects import Dialect, request_body
from tests.llm.faults import Choice, Reply, choice, choices, completion, endpoint, error, server, simulator

FENCED = 'Well: the best is b.\n```json\n{"answer": "b"}\n```\nI hope this helps.'


class Server:
    """Takes the ways of asking that it is told to, and says no to the others as servers do."""

    def __init__(self, *takes: str, length: str = "max_tokens") -> None:
        self.takes, self.length = takes, length
        self.requests: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        self.requests.append(request)
        way = (request.get("response_format") or {"type": "text"})["type"]
        if way not in self.takes:
            return error(400, f"Invalid parameter: 'response_format' of type '{way}' is not supported with this model.")
        if self.length not in request:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return completion(FENCED if way == "text" else '{"answer": "b"}')

    @property
    def ways(self) -> list[str]:
        return [(request.get("response_format") or {"type": "text"})["type"] for request in self.requests]


def test_auto_steps_down_once_for_all_rows_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    handle = Server("json_object")
    with server(handle) as url:
        used = endpoint(url, concurrency=1)
        assert used.map(choices(5)) == [Choice(answer="b")] * 5
        assert used.map(choices(2)) == [Choice(answer="b")] * 2
    assert handle.ways == ["json_schema"] + ["json_object"] * 7
    assert len(caplog.records) == 1
    assert "PERSONAMEM_LLM_STRUCTURED=json_object" in caplog.text


def test_auto_steps_down_to_text(caplog: pytest.LogCaptureFixture) -> None:
    handle = Server("text")
    with server(handle) as url:
        assert endpoint(url, concurrency=8).map(choices(20)) == [Choice(answer="b")] * 20
    assert set(handle.ways) == {"json_schema", "json_object", "text"}
    assert len(caplog.records) == 2
    system = handle.requests[-1]["messages"][0]["content"]
    assert system.startswith("Pick one.")
    assert json.loads(system.splitlines()[-1])["required"] == ["answer"]


@pytest.mark.parametrize("way", ["json_schema", "json_object", "text"])
def test_a_way_that_was_asked_for_is_kept(way: str) -> None:
    handle = Server(way)
    with server(handle) as url:
        assert endpoint(url, structured=way).map(choices(2)) == [Choice(answer="b")] * 2
    assert handle.ways == [way] * 2
    with server(Server("nothing")) as url:
        (refused,) = endpoint(url, structured=way).map([choice()])
    assert isinstance(refused, Refused)
    assert refused.args[-1].startswith("bad_request: ")


def test_the_newer_name_of_the_cap_is_found_out_and_used_for_openai_at_once() -> None:
    handle = Server("json_schema", length="max_completion_tokens")
    with server(handle) as url:
        assert endpoint(url, concurrency=1, max_tokens=50).map(choices(3)) == [Choice(answer="b")] * 3
    assert ["max_tokens" in request for request in handle.requests] == [True, False, False, False]
    assert handle.requests[-1]["max_completion_tokens"] == 50
    assert Dialect.starting("auto", openai=True).length == "max_completion_tokens"


def test_a_refusal_about_something_else_changes_nothing() -> None:
    with server(lambda request, headers: error(400, "context length exceeded")) as url:
        used = endpoint(url)
        assert isinstance(used.map([choice()])[0], Refused)
    assert used._learned.dialect == Dialect()


def test_a_rerun_finds_what_was_answered_in_a_weaker_way(tmp_path: Path) -> None:
    handle = Server("text")
    with server(handle) as url:
        first = endpoint(url, cache=tmp_path / "llm.sqlite").map(choices(4))
        asked = len(handle.requests)
        second = endpoint(url, cache=tmp_path / "llm.sqlite")
        assert second.map(choices(4)) == first
    assert len(handle.requests) == asked, "nothing was asked, not even whether schemas are taken by now"
    assert second.usage.cached == 4


@pytest.mark.parametrize("way", ["json_object", "text"])
def test_the_simulator_answers_the_same_without_schemas(way: Any) -> None:
    assert simulator(structured=way).map(choices(10)) == simulator().map(choices(10))


def test_equal_questions_have_equal_bytes() -> None:
    bodies = {request_body(choice(), choice().messages, "m", Dialect(), 10) for _ in range(3)}
    assert len(bodies) == 1
