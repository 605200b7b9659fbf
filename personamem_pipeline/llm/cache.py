"""What endpoints have answered, by the digest of the request: so that nothing is paid for twice.

One SQLite file for all processes of an installation, in write-ahead mode. Each answer is committed when it arrives; a
run that is killed repeats at most the requests that were in flight. Only answers are kept, never errors and never keys.
An answer that turned out to be unusable is kept too: it is what the request gives, and its repair is another request.

Beside the answers stand the requests that a batch has been created for (`batch.py`), so that a re-run waits for that
batch instead of paying for a second one.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.replies import Answer

WAIT_SECONDS = 60.0
FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (request BLOB PRIMARY KEY, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS batched (request BLOB PRIMARY KEY, batch TEXT NOT NULL);
"""


class ResponseCache:
    """An open cache file. Use it in the thread that opened it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[ResponseCache]:
        """The cache in a file, which is made when there is none. Raises `UserError` for a file that is no cache."""
        with _clear_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            with _clear_errors(path):
                _prepare(connection)
            yield cls(path, connection)
        finally:
            connection.close()

    def get(self, request: bytes) -> Answer | None:
        """The answer to a request that has been asked before."""
        with _clear_errors(self.path):
            row = self._connection.execute("SELECT answer FROM answers WHERE request = ?", (request,)).fetchone()
        return Answer.from_json(row[0]) if row else None

    def put(self, request: bytes, answer: Answer) -> Answer:
        """Keep an answer, at once, and return the one that is kept: of two to the same request the first, which another
        process may have got meanwhile, so that runs and re-runs agree."""
        with _clear_errors(self.path):
            added = self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (request, answer.to_json()))
        kept = answer if added.rowcount else self.get(request)
        assert kept is not None, "what was not added is there"
        return kept

    def pending(self, requests: Sequence[bytes]) -> dict[str, list[bytes]]:
        """Batch id -> those of the requests that it was created for."""
        found: dict[str, list[bytes]] = {}
        with _clear_errors(self.path):
            for request in requests:
                row = self._connection.execute("SELECT batch FROM batched WHERE request = ?", (request,)).fetchone()
                if row:
                    found.setdefault(row[0], []).append(request)
        return found

    def remember_batch(self, batch: str, requests: Sequence[bytes]) -> None:
        """A batch was created for these requests."""
        with _clear_errors(self.path), self._transaction():
            rows = [(request, batch) for request in requests]
            self._connection.executemany("INSERT OR REPLACE INTO batched VALUES (?, ?)", rows)

    def finish_batch(self, batch: str, answers: Mapping[bytes, Answer]) -> None:
        """A batch has ended with these answers. All or nothing, so that a run killed here reads the batch again."""
        with _clear_errors(self.path), self._transaction():
            rows = [(request, answer.to_json()) for request, answer in answers.items()]
            self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
            self._connection.execute("DELETE FROM batched WHERE batch = ?", (batch,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:  # commits, or rolls back
            yield


def request_digest(server: str, body: bytes) -> bytes:
    """The cache's key. `server` is what else decides the answer, see `server_name`."""
    return hashlib.sha256(server.encode() + b"\n" + body).digest()


def server_name(base_url: str | None) -> str:
    """Host and path of a base URL, without any password in it; for the simulator, the digest of its own files, so that
    an edited simulator is not answered for by its former self."""
    if base_url is None:
        return f"simulator {_simulator_digest()}"
    parts = urlsplit(base_url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


@cache
def _simulator_digest() -> str:
    room, found = Path(__file__).parent / "simulator", hashlib.sha256()
    for path in sorted(path for path in room.rglob("*") if path.suffix in (".py", ".yaml")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(room).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _prepare(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # Two processes that make the file together: SQLite does not wait for this one lock by itself.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    # An answer survives its process, which is what is killed; only a power cut can lose the last few.
    connection.execute("PRAGMA synchronous = NORMAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == FORMAT:
        return
    if version:
        raise sqlite3.DatabaseError(f"its format is {version} and not {FORMAT}")
    with connection:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT};")


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise UserError(
            f"the response cache cannot be used: {error}",
            where=path,
            expected="an SQLite file that this pipeline wrote, on a disk with room, where it may write",
            remedy=f"delete {path.name}* there (what is in it will be asked for again), or do without: "
            "--no-cache or PERSONAMEM_LLM_CACHE=off",
        ) from error
