"""A Postgres server of one's own: the real binaries, a new directory, an address nobody else has, a password that counts."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from personamem_pipeline.settings import PROJECT

START_SECONDS = 60


@dataclass(frozen=True)
class Postgres:
    """Where it listens."""

    port: int
    password: str
    host: str = "127.0.0.1"
    user: str = "dagster"
    database: str = "postgres"

    def instance_config(self, logs: Path) -> dict[str, Any]:
        """docker/dagster/production.yaml with this server's address, and compute logs in a directory of the test's."""
        config: dict[str, Any] = yaml.safe_load((PROJECT / "docker" / "dagster" / "production.yaml").read_text())
        address = {"hostname": self.host, "port": self.port, "username": self.user, "db_name": self.database}
        config["storage"]["postgres"]["postgres_db"].update(address)
        config["compute_logs"]["config"]["base_dir"] = str(logs)
        return config


def binaries() -> Path | None:
    """Where initdb and postgres are: Debian keeps them out of PATH. None where they are not installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((path for path in reversed(found) if (path / "postgres").is_file()), None)


@contextmanager
def running(programs: Path) -> Iterator[Postgres]:
    """A server that ends with the block. Postgres refuses to run as root, so root lends it an unprivileged user's name."""
    nobody = pwd.getpwnam("nobody")
    as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()} if os.getuid() == 0 else {}
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="personamem-postgres-") as name:
        home = Path(name)
        (home / "password").write_text(password)
        if as_nobody:
            for path in (home, home / "password"):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        own = {"cwd": home, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **as_nobody}
        subprocess.run(
            [programs / "initdb", "--no-sync", "--auth=scram-sha-256", "--username=dagster", "--pwfile=password", "data"],
            check=True, capture_output=True, **own,  # type: ignore[call-overload]
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": home, "fsync": "off"}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        server = subprocess.Popen(
            [programs / "postgres", "-D", "data", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **own,  # type: ignore[call-overload]
        )  # fmt: skip
        try:
            postgres = Postgres(port, password)
            _wait(server, postgres)
            yield postgres
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: connections are closed, not waited for
            server.wait(timeout=30)


def _wait(server: subprocess.Popen[str], postgres: Postgres) -> None:
    import psycopg2

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg2.connect(
                host=postgres.host,
                port=postgres.port,
                user=postgres.user,
                password=postgres.password,
                dbname=postgres.database,
            ).close()
            return
        except psycopg2.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                raise RuntimeError(server.communicate()[1]) from None
            time.sleep(0.1)
