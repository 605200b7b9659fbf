"""Endpoints that misbehave: a real HTTP server whose replies a test decides, and what tests ask it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from personamem_pipeline.llm.client import Endpoint, Prompt

KEY = "sk-very-secret-key"


class Choice(BaseModel):
    answer: Literal["a", "b", "c", "d"]


def choice(key: str = "row", **changes: Any) -> Prompt[Choice]:
    brief = {"turns": [], "query": "q", "options": {"a": "w", "b": "x", "c": "y", "d": "z"}} | changes
    return Prompt("choice", "Pick one.", brief, Choice, key)


def choices(count: int) -> list[Prompt[Choice]]:
    return [choice(f"row{index}", query=f"q{index}") for index in range(count)]


def row_of(request: Mapping[str, Any]) -> str:
    """The query by which the requests of `choices` can be told apart."""
    return str(json.loads(request["messages"][1]["content"].removeprefix("Brief:\n"))["query"])


def simulator(**options: Any) -> Endpoint:
    return Endpoint(None, "simulator/1", None, **options)


def endpoint(base_url: str, **options: Any) -> Endpoint:
    return Endpoint(base_url, "some-model", KEY, **{"max_retries": 0, **options})


@dataclass(frozen=True)
class Reply:
    status: int
    text: str
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


DROP = Reply(0, "")
"""No reply: the connection is closed."""
Handler = Callable[[dict[str, Any], dict[str, str]], Reply]


def completion(content: str | None, refusal: str | None = None, finish: str = "stop") -> Reply:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    reply = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }  # fmt: skip
    return Reply(200, json.dumps(reply))


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({"error": {"message": message, "code": code}}), headers=named)


GOOD = completion('{"answer": "b"}')


@contextmanager
def server(handle: Handler) -> Iterator[str]:
    """A real HTTP server; yields its base URL."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(body) if self.headers["Content-Type"] == "application/json" else {}
            reply = handle(request, {name.lower(): value for name, value in self.headers.items()} | {"url": self.path})
            if reply is DROP:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.text.encode())))
            with suppress(ConnectionError):  # the client hangs up on the rest once one reply was bad
                self.end_headers()
                self.wfile.write(reply.text.encode())

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Quiet: clients are killed on purpose."""

    http = Server(("127.0.0.1", 0), Requests)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    http.server_close()


ROOT = Path(__file__).resolve().parents[2]
