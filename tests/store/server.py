"""A real S3 server in this process (moto's), and the ways in which servers fail.

    with S3Server() as server:
        server.bucket("things")
        server.faults.append(Fault("GET", "manifest", how="503", times=2))

Requests go over real sockets from Arrow's S3 client; a fault answers, cuts or hangs single requests.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>by order of the test</Message></Error>"
Start = Callable[..., Any]


@dataclass
class Fault:
    """What happens to the next `times` requests whose method and path (with the query) match."""

    method: str
    pattern: str
    how: Literal["503", "500", "refuse", "drop", "cut", "hang"]
    times: int = 1
    status: str = "403"
    code: str = "AccessDenied"
    """Of a refusal: HTTP's and S3's."""
    met: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    """Ends a hanging request, which is then served."""


class S3Server:
    """One server on a port of its own."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._app = DomainDispatcherApplication(create_backend_app)

    def __enter__(self) -> S3Server:
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=KEYS["AWS_REGION"],
        )
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self.faults:
            fault.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def bucket(self, name: str) -> None:
        """Make a bucket."""
        self.client.create_bucket(Bucket=name)

    def keys(self, bucket: str) -> list[str]:
        """Every object of a bucket, without the empty ones that Arrow marks directories with."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", ()) if not each["Key"].endswith("/")]

    def count(self, method: str, pattern: str) -> int:
        """How many requests came that match."""
        return sum(called == method and bool(re.search(pattern, path)) for called, path in self.calls)

    def _serve(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], quote(environ["PATH_INFO"]) + "?" + environ.get("QUERY_STRING", "")
        with self._lock:
            self.calls.append((method, path))
            fault = next(
                (f for f in self.faults if f.times and f.method == method and re.search(f.pattern, path)), None
            )
            if fault:
                fault.times -= 1
        if fault is None:
            return self._app(environ, start)  # type: ignore[no-any-return]
        fault.met.set()
        if fault.how == "hang":
            fault.release.wait(60)
            return self._app(environ, start)  # type: ignore[no-any-return]
        if fault.how == "drop":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if fault.how == "cut":
            return self._half(environ, start)
        code = {"503": "SlowDown", "500": "InternalError"}.get(fault.how, fault.code)
        status = fault.status if fault.how == "refuse" else fault.how
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(f"{status} {code}", [("Content-Type", "application/xml")])
        return [ERROR.format(code).encode()]

    def _half(self, environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        """The promised length, half of the bytes, and the line goes dead."""
        body = b"".join(self._app(environ, start))
        yield body[: len(body) // 2]
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


class _Quiet(MotoRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """Say nothing."""
