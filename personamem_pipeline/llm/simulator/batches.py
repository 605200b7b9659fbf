"""OpenAI's files and batches for the simulator, in the memory of its process: what a client of the Batch API calls.

    POST /v1/files (multipart, purpose=batch), GET /v1/files/{id}/content
    POST /v1/batches, GET /v1/batches, GET /v1/batches/{id}, POST /v1/batches/{id}/cancel

The fields and states are those of OpenAI's API reference (https://platform.openai.com/docs/api-reference/batch). A
batch is worked on in the background, a few requests at a time, as long as the process lives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Respond = Callable[[Mapping[str, Any]], tuple[int, dict[str, Any]]]
PAUSE_EVERY = 20
"""Requests of a batch between two chances for everybody else."""


@dataclass
class Batches:
    """All files and batches of one process. `respond` answers one request body with a status and a body."""

    respond: Respond
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    working: set[asyncio.Task[None]] = field(default_factory=set)

    def add_file(self, content: bytes) -> str:
        identity = f"file-sim{len(self.files)}"
        self.files[identity] = content
        return identity

    async def upload(self, request: Request) -> JSONResponse:
        fields = form_fields(request.headers["content-type"], await request.body())
        if fields.get("purpose") != b"batch" or "file" not in fields:
            return _error(400, "a file and purpose=batch are needed")
        identity = self.add_file(fields["file"])
        size = len(fields["file"])
        told = {"id": identity, "object": "file", "bytes": size, "created_at": 0, "filename": "requests.jsonl"}
        return JSONResponse(told | {"purpose": "batch", "status": "processed"})

    async def content(self, request: Request) -> Response:
        identity = request.path_params["file"]
        if identity not in self.files:
            return _error(404, f"no such file: {identity}")
        return Response(self.files[identity], media_type="application/jsonl")

    async def create(self, request: Request) -> JSONResponse:
        asked = await request.json()
        if asked.get("input_file_id") not in self.files:
            return _error(404, f"no such file: {asked.get('input_file_id')}")
        if (asked.get("endpoint"), asked.get("completion_window")) != ("/v1/chat/completions", "24h"):
            return _error(400, "only the endpoint /v1/chat/completions, within 24h")
        identity = f"batch_sim{len(self.batches)}"
        lines = self.files[asked["input_file_id"]].splitlines()
        batch = {
            "id": identity, "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
            "completion_window": "24h", "created_at": 0, "status": "in_progress", "output_file_id": None,
            "error_file_id": None, "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }  # fmt: skip
        self.batches[identity] = batch
        task = asyncio.get_running_loop().create_task(self._work(batch, lines))
        self.working.add(task)
        task.add_done_callback(self.working.discard)
        return JSONResponse(batch)

    async def retrieve(self, request: Request) -> JSONResponse:
        identity = request.path_params["batch"]
        if identity not in self.batches:
            return _error(404, f"no such batch: {identity}")
        return JSONResponse(self.batches[identity])

    async def listed(self, request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": list(self.batches.values()), "has_more": False})

    async def cancel(self, request: Request) -> JSONResponse:
        batch = self.batches.get(request.path_params["batch"])
        if batch is None:
            return _error(404, "no such batch")
        if batch["status"] == "in_progress":
            batch["status"] = "cancelled"
        return JSONResponse(batch)

    async def _work(self, batch: dict[str, Any], lines: list[bytes]) -> None:
        outcomes: dict[bool, list[str]] = {True: [], False: []}
        try:
            asked = [json.loads(line) for line in lines]
            names = [row["custom_id"] for row in asked]
            if len(set(names)) < len(names):
                raise ValueError("two requests have one custom_id")
        except (ValueError, LookupError, TypeError) as error:
            problem = {"code": "invalid_json_line", "message": f"the input file cannot be read: {error}"}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [problem]}}
            return
        for index, row in enumerate(asked):
            if index % PAUSE_EVERY == 0:
                await asyncio.sleep(0)
            if batch["status"] == "cancelled":
                break
            status, reply = self.respond(row["body"])
            response = {"status_code": status, "request_id": f"{batch['id']}-{index}", "body": reply}
            line = {"id": f"{batch['id']}-{index}", "custom_id": row["custom_id"], "response": response, "error": None}
            outcomes[status == 200].append(json.dumps(line))
            batch["request_counts"]["completed" if status == 200 else "failed"] += 1
        for good, key in ((True, "output_file_id"), (False, "error_file_id")):
            if outcomes[good]:
                batch[key] = self.add_file("\n".join(outcomes[good]).encode())
        if batch["status"] == "in_progress":
            batch["status"] = "completed"


def routes(respond: Respond) -> list[Route]:
    """The routes of one app's files and batches."""
    held = Batches(respond)
    return [
        Route("/v1/files", held.upload, methods=["POST"]),
        Route("/v1/files/{file}/content", held.content, methods=["GET"]),
        Route("/v1/batches", held.create, methods=["POST"]),
        Route("/v1/batches", held.listed, methods=["GET"]),
        Route("/v1/batches/{batch}", held.retrieve, methods=["GET"]),
        Route("/v1/batches/{batch}/cancel", held.cancel, methods=["POST"]),
    ]


def form_fields(content_type: str, body: bytes) -> dict[str, bytes]:
    """The fields of a multipart form. The standard library's mail parser reads them; Starlette wants a further package
    for it."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields = {}
    for part in message.iter_parts():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content
    return fields


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status)
