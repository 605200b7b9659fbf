"""The HTTP side: the paths, answers and log streams that the official client uses, and nothing made up.

`Api.start` and `stop` open and close one port, so that the server can be away and come back where it was.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from tests.kube.container import Container
from tests.kube.faults import REASONS, Faults
from tests.kube.kubelet import rfc3339
from tests.kube.objects import ApiError, Json

ROUTE = re.compile(
    r"/(api/v1|apis/batch/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<kind>pods|events|jobs)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<part>log|status))?"
)
LISTS = {"pods": ("v1", "PodList"), "events": ("v1", "EventList"), "jobs": ("batch/v1", "JobList")}
PIECE = 8192
"""Bytes of a chunk at most: long lines reach the client in pieces, as they do through a kubelet."""


class Served(Protocol):
    """What the server serves."""

    token: str
    faults: Faults
    calls: list[tuple[str, str, dict[str, str]]]

    def create(self, kind: str, namespace: str, body: Json) -> Json: ...
    def read(self, kind: str, namespace: str, name: str) -> Json: ...
    def listed(self, kind: str, namespace: str | None, fields: str, labels: str) -> list[Json]: ...
    def end(self, kind: str, namespace: str, name: str, options: Json) -> Json: ...
    def container(self, namespace: str, name: str, container: str | None) -> Container: ...


class Broken(Exception):
    """The connection is to be broken off without a word."""


class Server(ThreadingHTTPServer):
    """Remembers its open connections, so that they can be broken."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, backend: Served) -> None:
        self.backend = backend
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in mid-answer is no news; anything else is a fault of this fake."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Api:
    """The server on its port."""

    def __init__(self, backend: Served) -> None:
        self._backend, self._lock = backend, threading.Lock()
        self._server: Server | None = None
        self.port = 0

    def start(self) -> None:
        with self._lock:
            if self._server is None:
                self._server = Server(self.port, self._backend)
                self.port = self._server.server_address[1]
                threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()
                for connection in list(self._server.open):
                    sever(connection)
                self._server = None


def sever(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # closed already
        return


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are in `calls`."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}") or {}
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        backend = self.server.backend
        backend.calls.append((method, url.path, query))
        try:
            if self.headers.get("Authorization") != f"Bearer {backend.token}":
                raise ApiError(401, "Unauthorized", "Unauthorized")
            fault = backend.faults.of_call(method, url.path)
            told = fault and ApiError(fault.status, REASONS.get(fault.status, "Unknown"), f"injected {fault.status}")
            if told and fault and not fault.done:
                raise told
            answer = self._route(method, url.path, query, body)
            if told:
                raise told
            if answer is not None:
                self._send(201 if method == "POST" else 200, answer)
        except ApiError as error:
            self._send(error.code, error.body())
        except Broken:
            self.close_connection = True
            sever(self.connection)

    def _route(self, method: str, path: str, query: dict[str, str], body: Json) -> Json | None:
        """The answer to send; None where it was streamed."""
        backend = self.server.backend
        if path == "/version":
            return {"major": "1", "minor": "32", "gitVersion": "v1.32.0-fake"}
        found = ROUTE.fullmatch(path)
        if found is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        namespace, kind, name, part = (found[group] for group in ("namespace", "kind", "name", "part"))
        if query.get("watch") in ("true", "1"):
            raise ApiError(405, "MethodNotAllowed", "this fake has no watches: poll")
        if part == "log" and method == "GET":
            self._log(backend.container(namespace, name, query.get("container")), query)
            return None
        if method == "GET" and name:
            return backend.read(kind, namespace, name)
        if method == "GET":
            items = backend.listed(kind, namespace, query.get("fieldSelector", ""), query.get("labelSelector", ""))
            version, title = LISTS[kind]
            return {"apiVersion": version, "kind": title, "metadata": {"resourceVersion": "0"}, "items": items}
        if method == "POST" and not name and namespace:
            return backend.create(kind, namespace, body)
        if method == "DELETE" and name and not part:
            return backend.end(kind, namespace, name, {**body, **query})
        raise ApiError(405, "MethodNotAllowed", f"this fake has no {method} of {path}")

    def _log(self, container: Container, query: dict[str, str]) -> None:
        """Stream the log in chunks; the stream of a lost node breaks."""
        follow, stamped = (query.get(key) in ("true", "True", "1") for key in ("follow", "timestamps"))
        since = time.time_ns() - int(query["sinceSeconds"]) * 10**9 if "sinceSeconds" in query else 0
        tail = int(query["tailLines"]) if "tailLines" in query else None
        cut = self.server.backend.faults.of_log()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        for stamp, line in container.follow(since=since, tail=tail, follow=follow):
            text = rfc3339(stamp).encode() + b" " + line if stamped else line
            over = cut is not None and sent + len(text) >= cut.size
            self._chunks(text[: cut.size - sent] if cut is not None and over and not cut.cleanly else text)
            sent += len(text)
            if cut is not None and over:
                self.server.backend.faults.cut()
                if not cut.cleanly:
                    raise Broken
                break
        if container.lost:
            raise Broken
        self.wfile.write(b"0\r\n\r\n")

    def _chunks(self, text: bytes) -> None:
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def _send(self, code: int, body: Json) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
