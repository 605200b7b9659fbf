"""The cluster that Kubernetes tests run on: the fake always, and a real one where PERSONAMEM_TEST_KUBECONFIG names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.cluster import FakeCluster
from tests.kube.real import RealCluster

REAL = os.environ.get("PERSONAMEM_TEST_KUBECONFIG")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    """A fake cluster; for tests that are about the fake itself."""
    directory = tmp_path / "cluster"
    directory.mkdir()
    with FakeCluster(directory) as cluster:
        yield cluster


@pytest.fixture(params=["fake", *(["real"] if REAL else [])])
def kube(request: pytest.FixtureRequest) -> Iterator[FakeCluster | RealCluster]:
    """A cluster; tests that make something go wrong skip on a real one."""
    if request.param == "real":
        assert REAL is not None
        yield RealCluster(Path(REAL))
    else:
        yield request.getfixturevalue("fake")
