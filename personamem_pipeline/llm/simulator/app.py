"""An OpenAI-compatible endpoint over the simulator, as a plain ASGI application: chat completions, models, batches.

It reads the same structured prompts that a real model gets: the name of the JSON schema says which task, the brief is
the JSON object after the line `Brief:` in the user message, and the request's `seed` makes the answer repeatable. Asked
without a schema, it finds the task's name in the system message, where the client puts the schema then. Without any task
it answers the memory agent's plain prompts (`chat.py`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from personamem_pipeline.llm.simulator import (
    batches,
    chat,
    guesser,
    judging,
    persons,
    questions,
    reader,
    review,
    sessions,
    teacher,
)
from personamem_pipeline.seeds import digest, stable_int

MODEL = "simulator/1"
Task = Callable[[Mapping[str, Any], random.Random], dict[str, Any]]
TASKS: dict[str, Task] = {
    "persona": persons.persona,
    "review": review.review,
    "session": sessions.session,
    "question": questions.question,
    "choice": reader.choice,
    "state": reader.state,
    **judging.TASKS,
    **teacher.TASKS,
}


MODELS: dict[str, Mapping[str, Task]] = {MODEL: TASKS, guesser.MODEL: guesser.TASKS}
"""What is served: a model's name and its tasks."""
_IN_WORDS = re.compile(r"JSON schema `(\w+)`")


class UnknownModel(Exception):
    """No such model here."""


def complete(body: Mapping[str, Any]) -> dict[str, Any]:
    """The response body for one request body. Raises `UnknownModel`, and ValueError for a request it cannot serve."""
    model = body.get("model")
    if model not in MODELS:
        raise UnknownModel(f"the model {model!r} does not exist; the simulator serves {' and '.join(MODELS)}")
    tasks, name = MODELS[model], _task_name(body)
    prompt = str(body["messages"][-1]["content"])
    identity = digest(prompt.encode())
    rng = random.Random(stable_int("simulator", body.get("seed", 0), identity))
    said = chat.reply(prompt, rng) if name is None and model == MODEL else None
    if said is not None:
        cap = body.get("max_tokens") or body.get("max_completion_tokens") or len(said)
        return _completion(body, identity, *chat.cut(said, cap))
    if name is None or name not in tasks:
        raise ValueError(f"{model} answers the tasks {sorted(tasks)}, named by their JSON schema, and not {name!r}")
    _, mark, brief = prompt.rpartition("Brief:\n")
    if not mark:
        raise ValueError("the last message has no line 'Brief:' followed by a JSON object")
    return _completion(body, identity, json.dumps(tasks[name](json.loads(brief), rng)), "stop")


def _completion(body: Mapping[str, Any], identity: str, answer: str, finish: str) -> dict[str, Any]:
    prompt_tokens = sum(len(str(message["content"]).split()) for message in body["messages"])
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(answer.split())}
    return {
        "id": f"sim-{identity[:16]}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": answer}},
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def respond(body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and response body, errors in OpenAI's form."""
    try:
        return 200, complete(body)
    except UnknownModel as error:
        told = {"message": str(error), "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return 404, {"error": told}
    except (ValueError, LookupError, StopIteration) as error:
        message = f"{type(error).__name__}: {error}"
        return 400, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _task_name(body: Mapping[str, Any]) -> str | None:
    asked = body.get("response_format") or {}
    if asked.get("type") == "json_schema":
        return str(asked["json_schema"]["name"])
    in_words = _IN_WORDS.search(str(body["messages"][0]["content"]))
    return in_words[1] if in_words else None


async def chat_completions(request: Request) -> JSONResponse:
    try:
        body = await request.json()
    except ValueError as error:
        return JSONResponse({"error": {"message": f"no JSON: {error}", "type": "invalid_request_error"}}, 400)
    status, reply = respond(body)
    return JSONResponse(reply, status)


async def models(request: Request) -> JSONResponse:
    served = [{"id": name, "object": "model", "owned_by": "personamem"} for name in MODELS]
    return JSONResponse({"object": "list", "data": served})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        *batches.routes(respond),
    ]
)
