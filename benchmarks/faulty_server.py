"""A chat endpoint that fails on purpose, always in the same way, and keeps the books. `authoring.py` measures against it.

Every answer takes the same time; a fixed share of the requests meets a fault: 429, 500, a dropped connection, or an
answer whose JSON breaks off. Whether the n-th request for a row fails, and how, depends on the row's text and n alone,
not on who asks or when: two clients with the same rows meet the same faults. What belongs here is what the server can
know: requests, repeats, answers, faults and what was in flight. What it means is `authoring.py`'s.

    python -m benchmarks.faulty_server --latency-ms 50 --faults 0.05     # prints its base URL

Beside `/v1/chat/completions`: `GET /stats`; `POST /reset`, new books; `POST /kill` with {"pid", "after"}: send that
process SIGKILL when `after` rows have been answered. The server does it because only the server knows, at that moment,
which requests are in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from benchmarks.ledger import Ledger
from personamem_pipeline.seeds import digest, fraction, rng

FAULTS = ("429", "500", "dropped", "malformed")
COMPLETION_TOKENS = 24


def row_of(messages: list[dict[str, str]]) -> str | None:
    """The row a request is for, whatever else follows its system and first user message; None: a client's own probe."""
    if [message["role"] for message in messages[:2]] != ["system", "user"]:
        return None
    return digest([messages[0]["content"], messages[1]["content"]])[:16]


def fault(row: str, attempt: int, share: float, seed: int = 0) -> str | None:
    """What goes wrong with the `attempt`-th request for a row (from 1), the four faults being equally likely."""
    draw = fraction(seed, "benchmark fault", row, attempt)
    return FAULTS[int(draw / share * len(FAULTS))] if draw < share else None


def answer(schema: dict[str, Any], row: str) -> Any:
    """A value that fits a JSON schema and depends on nothing but the schema and the row."""
    if "$ref" in schema:
        raise ValueError("the benchmark's schemas are flat")
    if "enum" in schema:
        return rng(0, "benchmark answer", row, str(schema["enum"])).choice(schema["enum"])
    match schema["type"]:
        case "object":
            return {name: answer(part, f"{row}.{name}") for name, part in schema["properties"].items()}
        case "array":
            return [answer(schema["items"], f"{row}.0")]
        case "string":
            return f"What was asked about {row} is answered here, in about as many words as a short turn has."
        case "integer" | "number":
            return rng(0, "benchmark answer", row).randrange(1000)
        case "boolean":
            return True
        case other:
            raise ValueError(f"no answer of type {other!r}")


class Dropped(Response):
    """No answer at all: the connection is closed under the client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for connection in list(scope["app"].state.server.server_state.connections):
            if connection.client == scope["client"]:
                connection.transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


async def chat(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    state = request.app.state
    try:
        body = await request.body()
    except ClientDisconnect:  # killed while it was sending: no request, and nobody to answer
        return Response()
    asked = json.loads(body)
    ledger, row = state.ledger, row_of(asked["messages"])
    if row is None:
        ledger.probes += 1
        await asyncio.sleep(state.latency)
        return _completion(asked, "probe") if asked["messages"] else _error(400, "messages is empty")
    attempt = ledger.arrived(row, body)
    await asyncio.sleep(state.latency)
    went_wrong = fault(row, attempt, state.faults, state.seed)
    ledger.left(row, attempt, went_wrong)
    match went_wrong:
        case "429":
            return _error(429, "too many requests", state.retry_after)
        case "500":
            return _error(500, "the server had an error")
        case "dropped":
            return Dropped()
    return _completion(asked, row, broken=went_wrong == "malformed")


def _completion(asked: dict[str, Any], row: str, broken: bool = False) -> Response:
    content = json.dumps(answer(asked["response_format"]["json_schema"]["schema"], row))
    message = {"role": "assistant", "content": content[: len(content) // 2] if broken else content}
    tokens = sum(len(message["content"]) for message in asked["messages"]) // 4
    usage = {
        "prompt_tokens": tokens, "completion_tokens": COMPLETION_TOKENS, "total_tokens": tokens + COMPLETION_TOKENS,
    }  # fmt: skip
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": f"chat-{row}", "object": "chat.completion", "created": 0, "model": asked["model"]}
    return JSONResponse(reply | {"choices": [choice], "usage": usage})


def _error(status: int, message: str, retry_after: float = 0) -> Response:
    headers = {"Retry-After": f"{retry_after:g}"} if retry_after else None
    return JSONResponse({"error": {"message": message, "type": "benchmark"}}, status, headers)


async def stats(request: Request) -> Response:
    return JSONResponse(request.app.state.ledger.stats())


async def reset(request: Request) -> Response:
    request.app.state.ledger = Ledger()
    return JSONResponse({})


async def kill(request: Request) -> Response:
    request.app.state.ledger.kill = await request.json()
    return JSONResponse({})


def build(latency: float, faults: float, seed: int = 0, retry_after: float = 0) -> Starlette:
    """The app: seconds per answer, share of requests that fail, seconds a 429 asks to wait (0: it does not say)."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/stats", stats),
            Route("/reset", reset, methods=["POST"]),
            Route("/kill", kill, methods=["POST"]),
        ]
    )
    app.state.latency, app.state.faults, app.state.seed, app.state.retry_after = latency, faults, seed, retry_after
    app.state.ledger = Ledger()
    return app


def main() -> None:
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--faults", type=float, default=0.05, help="share of requests that fail")
    parser.add_argument("--retry-after", type=float, default=0, help="seconds that a 429 names; 0: no such header")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    options = parser.parse_args()
    app = build(options.latency_ms / 1000, options.faults, options.seed, options.retry_after)
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
    app.state.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    app.state.server.run(sockets=[listening])


if __name__ == "__main__":
    main()
