"""One whole chain for all tests here, and a copy of it for each that damages one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from personamem_pipeline.store import Store
from tests.passports.chains import Chain, build


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return build(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def chain(whole: Chain, tmp_path: Path) -> Chain:
    shutil.copytree(whole.store.root.parent, tmp_path / "chain")
    versions, shards = dict(whole.versions), {name: dict(own) for name, own in whole.shards.items()}
    root = tmp_path / "chain"
    return replace(whole, versions=versions, shards=shards, store=Store(root / "store"), project=root / "project")
