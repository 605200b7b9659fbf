"""A Postgres server for the tests of this folder; they are skipped, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.production.postgres import Postgres, binaries, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = binaries()
    if programs is None:
        pytest.skip("Postgres is not installed (Debian: apt-get install postgresql)")
    with running(programs) as server:
        yield server
