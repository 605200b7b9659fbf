"""An OpenAI-compatible chat endpoint over the simulator, as a plain ASGI application.

It reads the same structured prompts that a real model gets: the name of the JSON schema says which task, the brief is
the JSON object after the line `Brief:` in the user message, and the request's `seed` makes the answer repeatable.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from personamem_pipeline.llm.simulator import persons, questions, reader, sessions
from personamem_pipeline.seeds import digest, stable_int

MODEL = "simulator/1"
TASKS: dict[str, Callable[[Mapping[str, Any], random.Random], dict[str, Any]]] = {
    "persona": persons.persona,
    "session": sessions.session,
    "question": questions.question,
    "choice": reader.choice,
    "judgement": reader.judgement,
}


def complete(body: Mapping[str, Any]) -> dict[str, Any]:
    """The response body for one request body; raises ValueError for a request it cannot serve."""
    try:
        task = TASKS[body["response_format"]["json_schema"]["name"]]
    except (KeyError, TypeError):
        raise ValueError(
            f"the simulator only answers requests whose response_format is a JSON schema named one of {sorted(TASKS)}"
        ) from None
    prompt = str(body["messages"][-1]["content"])
    _, mark, brief = prompt.rpartition("Brief:\n")
    if not mark:
        raise ValueError("the last message has no line 'Brief:' followed by a JSON object")
    rng = random.Random(stable_int("simulator", body.get("seed", 0), digest(prompt.encode())))
    answer = json.dumps(task(json.loads(brief), rng))
    prompt_tokens = sum(len(str(message["content"]).split()) for message in body["messages"])
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(answer.split())}
    return {
        "id": f"sim-{digest(prompt.encode())[:16]}",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}},
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


async def chat_completions(request: Request) -> JSONResponse:
    try:
        return JSONResponse(complete(await request.json()))
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        message = f"{type(error).__name__}: {error}"
        return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=400)


async def models(request: Request) -> JSONResponse:
    return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "personamem"}]})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
    ]
)
