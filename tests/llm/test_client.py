"""The client against the simulator in process, the simulator over HTTP, and one request at a time."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint
from tests.llm.faults import KEY, Reply, choice, choices, completion, endpoint, error, server, simulator


def test_replies_come_in_order_and_refusals_in_their_place() -> None:
    prompts = choices(40)
    prompts[3] = choice("broken", options={})
    used = simulator()
    progress: list[tuple[int, int]] = []
    replies = used.map(prompts, on_progress=lambda done, total: progress.append((done, total)))
    assert isinstance(replies[3], Refused)
    assert replies[3].args[0] == "broken"
    assert replies[3].args[-1].startswith("bad_request: ")
    assert [reply for index, reply in enumerate(replies) if index != 3] == [
        asyncio.run(simulator().ask(prompt)) for prompt in prompts if prompt.key != "broken"
    ]
    assert progress == [(done, 40) for done in range(1, 41)]
    assert (used.usage.calls, used.usage.refused) == (39, 1)
    assert used.usage.prompt_tokens > 39


def test_nothing_to_ask_opens_nothing() -> None:
    assert Endpoint("http://127.0.0.1:1/v1", "m", None).map([]) == []


def test_what_is_sent() -> None:
    sent: list[tuple[dict[str, Any], dict[str, str]]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        sent.append((request, headers))
        return completion('{"answer": "b"}')

    with server(handle) as url:
        assert asyncio.run(endpoint(url, max_tokens=77).ask(choice("one"))).answer == "b"
        asyncio.run(endpoint(url).ask(choice("two")))
    request, headers = sent[0]
    assert request["model"] == "some-model"
    assert request["max_tokens"] == 77
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert request["messages"][0] == {"role": "system", "content": "Pick one."}
    assert json.loads(request["messages"][1]["content"].removeprefix("Brief:\n"))["query"] == "q"
    schema = request["response_format"]["json_schema"]
    assert (schema["name"], schema["strict"]) == ("choice", True)
    assert schema["schema"]["additionalProperties"] is False
    assert schema["schema"]["required"] == ["answer"]
    assert 0 <= request["seed"] < 2**31
    assert request["seed"] != sent[1][0]["seed"], "each row has its own seed"


def test_an_invalid_reply_is_repaired_once() -> None:
    requests: list[dict[str, Any]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        requests.append(request)
        return completion('{"answer": "e"}' if len(requests) == 1 else '{"answer": "d"}')

    with server(handle) as url:
        used = endpoint(url)
        assert asyncio.run(used.ask(choice())).answer == "d"
    assert [message["role"] for message in requests[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert requests[1]["messages"][2]["content"] == '{"answer": "e"}'
    assert "answer: Input should be" in requests[1]["messages"][3]["content"]
    usage = used.usage
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens, usage.wasted) == (2, 14, 4, 1)


@pytest.mark.parametrize(
    ("reply", "calls", "reason", "content"),
    [
        (
            completion('{"answer": "e"}'),
            2,
            "wrong_schema: it does not fit the schema: answer: Input",
            '{"answer": "e"}',
        ),
        (completion('{"answer": '), 3, "not_json: ", '{"answer": '),
        (completion('{"answer": "', finish="length"), 2, "truncated: it was cut off after 12 char", '{"answer": "'),
        (completion("b" * 5000, finish="length"), 2, "truncated: ", "b" * 2000),
        (completion(None), 2, "empty: ", ""),
        (completion(None, refusal="I would rather not"), 1, "declined: I would rather not", ""),
        (completion("half a", finish="content_filter"), 1, "declined: the server's content filter", "half a"),
        (error(400, "too long"), 0, "bad_request: the endpoint refused the request: Error code: 400", ""),
        (error(413, "too large"), 0, "bad_request: ", ""),
        (error(422, "bad field"), 0, "bad_request: ", ""),
        (error(400, "not nice", code="content_filter"), 0, "declined: ", ""),
    ],
)
def test_no_usable_answer_is_a_refusal_that_says_which(reply: Reply, calls: int, reason: str, content: str) -> None:
    with server(lambda request, headers: reply) as url:
        used = endpoint(url)
        (refused,) = used.map([choice("row7")])
    assert isinstance(refused, Refused)
    assert refused.args[0] == "row7"
    assert refused.args[-1].startswith(reason)
    assert refused.content == content
    assert (used.usage.refused, used.usage.calls, used.usage.wasted) == (1, calls, calls)


@pytest.mark.parametrize(
    ("reply", "problem", "variables"),
    [
        (error(401, "no such key"), "refuses the key", ["API_KEY"]),
        (error(403, "not yours"), "refuses the key", ["API_KEY"]),
        (error(404, "The model `x` does not exist", code="model_not_found"), "does not know the model", ["MODEL"]),
        (error(400, "invalid model ID", code="model_not_found"), "does not know the model", ["MODEL"]),
        (error(404, "Not Found"), "nothing at this address", ["BASE_URL", "MODEL"]),
        (error(500, "oops"), "InternalServerError", ["BASE_URL", "MODEL", "API_KEY"]),
        (Reply(200, "<html>a proxy's login page</html>", "text/html"), "not a chat completion", ["BASE_URL"]),
        (Reply(200, "{}"), "not a chat completion", ["BASE_URL"]),
        (Reply(200, '{"choices": [{"message": {"content": 3}}]}'), "no text", ["BASE_URL"]),
    ],
)
def test_an_unusable_endpoint_is_one_clear_error(reply: Reply, problem: str, variables: list[str]) -> None:
    with server(lambda request, headers: reply) as url:
        with pytest.raises(UserError) as raised:
            endpoint(url).map(choices(20))
        text = str(raised.value)
        assert url in text
        assert problem in text
        assert all(f"PERSONAMEM_LLM_{name}" in text for name in variables)
        assert KEY not in text + repr(endpoint(url))
        with pytest.raises(UserError, match=f"PERSONAMEM_READER_{variables[0]}"):
            endpoint(url, variables="PERSONAMEM_READER").map(choices(2))


def test_nobody_listens_is_said_within_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be reached[^$]*PERSONAMEM_LLM_BASE_URL"):
        endpoint("http://127.0.0.1:1/v1", max_retries=8).map(choices(20))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "https://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UserError, match="no http"):
        endpoint(url).map([choice()])


def test_a_model_that_the_simulator_does_not_serve() -> None:
    with pytest.raises(UserError, match=r"gpt-4o[^$]*PERSONAMEM_LLM_MODEL"):
        Endpoint(None, "gpt-4o", None).map([choice()])


def test_the_simulator_serves_a_second_reader() -> None:
    options = {"a": "the same words here", "b": "the same words there", "c": "something else", "d": "the same words"}
    guesser = Endpoint(None, "guesser/1", None)
    assert asyncio.run(guesser.ask(choice(options=options))).answer == "c"


@contextmanager
def simulator_process() -> Iterator[str]:
    """The simulator's own server; yields its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "personamem_pipeline.llm.simulator", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": "17"})
    try:
        for _ in range(400):
            assert process.poll() is None, "the simulator's server died"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_the_simulator_says_the_same_over_http() -> None:
    with simulator_process() as url:
        served = Endpoint(url, "simulator/1", None)
        assert served.map(choices(20)) == simulator().map(choices(20))
        assert served.usage.calls == 20
