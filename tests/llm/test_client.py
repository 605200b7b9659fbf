"""The client against the simulator in process, the simulator over HTTP, and endpoints that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.questions.certify import ChoiceReply
from tests.rooms import simulator


def choice(key: str = "row", **changes: Any) -> Prompt[ChoiceReply]:
    brief = {"turns": [], "query": "q", "options": {"a": "w", "b": "x", "c": "y", "d": "z"}} | changes
    return Prompt("choice", "Pick one.", brief, ChoiceReply, key)


Handler = Callable[[dict[str, Any], dict[str, str]], tuple[int, str, str]]


@contextmanager
def server(handle: Handler) -> Iterator[str]:
    """A real HTTP server whose replies a test decides; yields its base URL."""

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, kind, text = handle(request, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            with suppress(ConnectionError):  # the client hangs up on the rest once one reply was bad
                self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    http.server_close()


def completion(content: str | None, refusal: str | None = None) -> tuple[int, str, str]:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    reply = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }  # fmt: skip
    return 200, "application/json", json.dumps(reply)


def endpoint(base_url: str) -> Endpoint:
    return Endpoint(base_url, "some-model", "secret-key", max_retries=0)


def test_replies_come_in_order_and_refusals_in_their_place() -> None:
    prompts = [choice(f"row{index}") for index in range(40)]
    prompts[3] = choice("broken", options={})
    used = simulator()
    progress: list[tuple[int, int]] = []
    replies = used.map(prompts, on_progress=lambda done, total: progress.append((done, total)))
    assert isinstance(replies[3], Refused)
    assert replies[3].args[0] == "broken"
    assert "400" in replies[3].args[1]
    assert [reply for index, reply in enumerate(replies) if index != 3] == [
        asyncio.run(simulator().ask(prompt)) for prompt in prompts if prompt.key != "broken"
    ]
    assert progress[-1] == (40, 40)
    assert (used.usage.calls, used.usage.refused) == (39, 1)
    assert used.usage.prompt_tokens > 39


def test_nothing_to_ask_opens_nothing() -> None:
    assert Endpoint("http://127.0.0.1:1/v1", "m", None).map([]) == []


def test_what_is_sent() -> None:
    sent: list[tuple[dict[str, Any], dict[str, str]]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, str, str]:
        sent.append((request, headers))
        return completion('{"answer": "b"}')

    with server(handle) as url:
        assert asyncio.run(endpoint(url).ask(choice("one"))).answer == "b"
        asyncio.run(endpoint(url).ask(choice("two")))
    request, headers = sent[0]
    assert request["model"] == "some-model"
    assert headers["authorization"] == "Bearer secret-key"
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

    def handle(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, str, str]:
        requests.append(request)
        return completion('{"answer": "e"}' if len(requests) == 1 else '{"answer": "d"}')

    with server(handle) as url:
        used = endpoint(url)
        assert asyncio.run(used.ask(choice())).answer == "d"
    assert [message["role"] for message in requests[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert requests[1]["messages"][2]["content"] == '{"answer": "e"}'
    assert "answer: Input should be" in requests[1]["messages"][3]["content"]
    assert (used.usage.calls, used.usage.prompt_tokens, used.usage.completion_tokens) == (2, 14, 4)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion("no json"), "invalid reply"),
        (completion(None), "invalid reply"),
        (completion(None, refusal="I would rather not"), "I would rather not"),
        ((400, "application/json", '{"error": {"message": "too long"}}'), "too long"),
        ((422, "application/json", '{"error": {"message": "bad schema"}}'), "bad schema"),
    ],
)
def test_no_usable_answer_is_a_refusal_not_a_default(reply: tuple[int, str, str], reason: str) -> None:
    with server(lambda request, headers: reply) as url:
        used = endpoint(url)
        (refused,) = used.map([choice("row7")])
    assert isinstance(refused, Refused)
    assert refused.args[0] == "row7"
    assert reason in refused.args[1]
    assert used.usage.refused == 1


@pytest.mark.parametrize(
    "reply",
    [
        (401, "application/json", '{"error": {"message": "no such key"}}'),
        (404, "application/json", '{"error": {"message": "no such model"}}'),
        (500, "text/plain", "oops"),
        (200, "text/html", "<html>a proxy's login page</html>"),
        (200, "application/json", "{}"),
    ],
)
def test_an_unusable_endpoint_is_one_clear_error(reply: tuple[int, str, str]) -> None:
    with server(lambda request, headers: reply) as url:
        with pytest.raises(UserError) as raised:
            endpoint(url).map([choice(str(index)) for index in range(20)])
        text = str(raised.value)
        assert url in text
        assert "PERSONAMEM_LLM_BASE_URL" in text
        assert "PERSONAMEM_LLM_API_KEY" in text
        assert "secret-key" not in text + repr(endpoint(url))


def test_nobody_listens() -> None:
    with pytest.raises(UserError, match="PERSONAMEM_LLM_BASE_URL"):
        endpoint("http://127.0.0.1:1/v1").map([choice()])


def test_the_simulator_says_the_same_over_http() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "personamem_pipeline.llm.simulator", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": "17"})
    try:
        _wait_for(port, process)
        prompts = [choice(f"row{index}") for index in range(20)]
        served = Endpoint(f"http://127.0.0.1:{port}/v1", "simulator/1", None)
        assert served.map(prompts) == simulator().map(prompts)
        assert served.usage.calls == 20
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the simulator's server died"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the simulator's server did not start")
