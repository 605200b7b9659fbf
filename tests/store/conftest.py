"""The same store in a directory and in a bucket; one S3 server for all tests of this room."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from personamem_pipeline.store import Manifest, Store
from tests.store.server import KEYS, S3Server

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def running() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(running: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment pointing at it and a home of its own."""
    for name, value in {
        **KEYS,
        "PERSONAMEM_S3_ENDPOINT": running.endpoint,
        "PERSONAMEM_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    running.faults.clear()
    running.calls.clear()
    return running


@dataclass
class InBucket:
    """A bucket of its own on the server."""

    server: S3Server
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}/lab/one"

    def open(self) -> Store:
        return Store(self.url)

    def names(self) -> list[str]:
        return [key.removeprefix("lab/one/") for key in self.server.keys(self.name)]

    def get(self, key: str) -> bytes:
        return bytes(self.server.client.get_object(Bucket=self.name, Key=f"lab/one/{key}")["Body"].read())

    def set(self, key: str, content: bytes) -> None:
        self.server.client.put_object(Bucket=self.name, Key=f"lab/one/{key}", Body=content)

    def drop(self, key: str) -> None:
        self.server.client.delete_object(Bucket=self.name, Key=f"lab/one/{key}")


@pytest.fixture
def bucket(s3: S3Server) -> InBucket:
    name = f"bucket-{next(NUMBERS)}"
    s3.bucket(name)
    return InBucket(s3, name)


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each sort."""
    if request.param == "bucket":
        opened: Store = request.getfixturevalue("bucket").open()
        return opened
    return Store(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory as a stage makes it."""
    directory = tmp_path / "source"
    (directory / "deep").mkdir(parents=True)
    (directory / "weights").write_bytes(os.urandom(300_000))
    (directory / "deep" / "config.json").write_text("{}")
    return directory


def put(store: Store, source: Path, **producer: str) -> Manifest:
    return store.put_directory("checkpoints", source, parents={"base_model": "0" * 64}, producer=producer)


def elsewhere(monkeypatch: pytest.MonkeyPatch, home: Path, url: str) -> Store:
    """The same store as another machine sees it, which has no copies yet."""
    monkeypatch.setenv("PERSONAMEM_HOME", str(home))
    return Store(url)
