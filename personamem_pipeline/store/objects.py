"""Objects of a bucket under one prefix: read, write, list, delete, with errors that say what to do.

Credentials come from the usual places (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
`~/.aws`, the machine's role), the address of a server other than Amazon's from PERSONAMEM_S3_ENDPOINT. Server errors,
throttling and lost connections are tried again with growing pauses by the AWS SDK inside Arrow, `ATTEMPTS` times. A
killed upload of a large file leaves parts that S3 shows nobody and bills: give the bucket a lifecycle rule that aborts
incomplete multipart uploads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSelector, FileType, LocalFileSystem, S3FileSystem, copy_files

from personamem_pipeline.errors import UserError

SCHEME = "s3://"
ATTEMPTS = 10
"""Of one request; the pauses grow to 20 s, so that about a minute of outage is waited for."""
BLOCK = 1 << 22
_CODE = re.compile(r"AWS Error ([A-Z_]+)(?: \(HTTP status (\d+)\).*?(?:ExceptionName: (\w+)|$))?", re.DOTALL)
"""The SDK's name of an error; for one that it does not know the HTTP status, and the server's name where it gave one."""
_KEY = (
    "the credentials are refused",
    "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN for this server",
)
_DENIED = ("access is denied", "grant s3:GetObject, PutObject, DeleteObject and ListBucket on the bucket")
_NO_BUCKET = ("there is no such bucket", "create it, or correct PERSONAMEM_STORE or PERSONAMEM_S3_ENDPOINT")
_REGION = ("the bucket is in another region", "set AWS_REGION to the bucket's region")
_REFUSED = {
    "ACCESS_DENIED": _DENIED,
    "403": _DENIED,
    "INVALID_ACCESS_KEY_ID": _KEY,
    "SIGNATURE_DOES_NOT_MATCH": _KEY,
    "INVALID_CLIENT_TOKEN_ID": _KEY,
    "UNRECOGNIZED_CLIENT": _KEY,
    "MISSING_AUTHENTICATION_TOKEN": _KEY,
    "INVALID_SIGNATURE": _KEY,
    "ExpiredToken": _KEY,
    "InvalidToken": _KEY,
    "NO_SUCH_BUCKET": _NO_BUCKET,
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "301": _REGION,
}
"""What cannot pass: the SDK's or the server's name of the error, or a status -> what it means and what to do."""


@dataclass(frozen=True)
class Object:
    """One object; its name is relative to what was listed."""

    name: str
    bytes: int
    written: float
    """Seconds since the epoch."""


class Objects:
    """Everything under `s3://bucket/prefix`. Names are relative to it.

    Each method raises `UserError` where access is refused or the bucket does not exist, and `ConnectionError` where the
    server does not answer, after which a stage is tried again.
    """

    def __init__(self, url: str, endpoint: str | None) -> None:
        """Opens nothing yet. Raises `UserError` unless `url` is `s3://bucket` or `s3://bucket/prefix`."""
        parts = urlsplit(url)
        if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
            raise UserError(
                "the address of the store is not one of a bucket",
                where="PERSONAMEM_STORE",
                expected="s3://bucket/prefix; keys belong into AWS_*, the server into PERSONAMEM_S3_ENDPOINT",
                remedy="export PERSONAMEM_STORE=s3://bucket/prefix",
            )
        self.bucket = parts.netloc
        self.url = SCHEME + f"{self.bucket}/{parts.path.strip('/')}".rstrip("/")
        self._prefix = self.url.removeprefix(SCHEME)
        self._endpoint = endpoint

    def exists(self, name: str) -> bool:
        with self._told():
            return bool(self._files.get_file_info(self._key(name)).type is FileType.File)

    def list(self, name: str = "") -> list[Object]:
        """All objects under a name."""
        start = self._key(name).rstrip("/")
        with self._told():
            infos = self._files.get_file_info(FileSelector(start, recursive=True, allow_not_found=True))
        return [
            Object(info.path[len(start) + 1 :], info.size, (info.mtime_ns or 0) / 1e9)
            for info in infos
            if info.type is FileType.File
        ]

    def read(self, name: str) -> bytes:
        """The content; `FileNotFoundError` where there is no such object."""
        with self._told(), self._files.open_input_stream(self._key(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes) -> None:
        with self._told(), self._files.open_output_stream(self._key(name)) as stream:
            stream.write(content)

    def download(self, name: str, into: BinaryIO | None = None) -> str:
        """Copy an object into a file, or nowhere, and return its SHA-256 as hex; `FileNotFoundError` as above."""
        state = hashlib.sha256()
        with self._told(), self._files.open_input_stream(self._key(name)) as stream:
            while block := stream.read(BLOCK):
                state.update(block)
                if into is not None:
                    into.write(block)
        return state.hexdigest()

    def upload(self, source: Path, name: str) -> None:
        """Copy a file; large ones in parts, which become an object all at once."""
        with self._told():
            copy_files(
                str(source), self._key(name), source_filesystem=LocalFileSystem(), destination_filesystem=self._files
            )

    def delete(self, name: str) -> None:
        """Delete one object, if it is there."""
        with self._told(), suppress(FileNotFoundError):
            self._files.delete_file(self._key(name))

    @cached_property
    def _files(self) -> S3FileSystem:
        server = {"endpoint_override": self._endpoint} if self._endpoint else {}
        files = S3FileSystem(
            **server,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            allow_delayed_open=True,  # small objects in one request
        )
        if files.get_file_info(self.bucket).type is FileType.NotFound:
            # S3 would say of each object that it is not there, and a wrong name look like an empty store.
            problem, remedy = _NO_BUCKET
            raise UserError(problem, where=self._at, remedy=remedy)
        return files

    @property
    def _at(self) -> str:
        return f"{self.url} at {self._endpoint or 'Amazon S3'}"

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            named = _CODE.search(str(error))
            if not named:  # e.g. the local disk's
                raise
            for name in (named[3], named[1], named[2]):
                if name in _REFUSED:
                    problem, remedy = _REFUSED[name]
                    raise UserError(problem, where=self._at, remedy=remedy) from error
            raise ConnectionError(f"{self._at} does not answer: {error}") from error
