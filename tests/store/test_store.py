"""What every store promises, in a directory or in a bucket."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.records import PersonaSeed, Rejection
from personamem_pipeline.store import MANIFEST, Store
from tests.store.conftest import put


def test_what_was_put_is_there_unchanged(store: Store, source: Path) -> None:
    manifest = put(store, source)
    version = manifest.version
    assert [entry.path for entry in manifest.files] == ["deep/config.json", "weights"]
    assert store.has("checkpoints", version) and not store.has("checkpoints", "0" * 64)
    assert store.versions("checkpoints") == [version] and store.versions("reports") == []
    assert store.manifest("checkpoints", version) == store.check("checkpoints", version) == manifest
    found = store.verified("checkpoints", version)
    assert (found / "weights").read_bytes() == (source / "weights").read_bytes()
    assert store.path("checkpoints", version) == found and not store.path("checkpoints", "0" * 64).exists()
    assert store.read("checkpoints", version, "deep/config.json") == b"{}"
    assert store.address("checkpoints", version) == f"{store.url}/checkpoints/{version}"


def test_the_same_content_has_the_same_version_anywhere(store: Store, source: Path, tmp_path: Path) -> None:
    assert put(store, source) == put(Store(tmp_path / "other"), source)


def test_rows_come_back(store: Store) -> None:
    rows = [PersonaSeed(person_id=f"p{i}", split="training", persona="x") for i in range(3)]
    bad = [Rejection(row_id="r9", person_id="p9", reason="empty: nothing", content="")]
    made = store.write_rows("persona_seeds", PersonaSeed, rows, parents={}, producer={}, rejected=bad)
    assert store.read_rows("persona_seeds", made.version, PersonaSeed) == rows
    assert store.read_rejected("persona_seeds", made.version) == bad and made.rows == 3


def test_versions_are_in_the_order_of_putting(store: Store, source: Path) -> None:
    first, second = (put(store, source, seed=str(seed)).version for seed in (1, 2))
    time.sleep(1.1)  # S3 knows seconds
    put(store, source, seed="1")
    assert store.versions("checkpoints") == [second, first]


def test_nothing_is_no_thing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="there is no manifest"):
        store.manifest("checkpoints", "0" * 64)
    with pytest.raises(IntegrityError, match="there is no manifest"):
        store.verified("checkpoints", "0" * 64)
    with pytest.raises(IntegrityError, match="there is no manifest"):
        store.attach("checkpoints", "0" * 64, "a.json", b"")
    with pytest.raises(UserError, match="nothing to store"):
        put(store, tmp_path / "none")


@pytest.mark.parametrize("name", [MANIFEST, "attached/makings/a.json"])
def test_names_of_the_store_are_no_content(store: Store, source: Path, name: str) -> None:
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text("{}")
    with pytest.raises(UserError, match="a name of the store's own"):
        put(store, source)


def test_attachments_are_beside_the_content(store: Store, source: Path) -> None:
    version = put(store, source).version
    assert store.attachments("checkpoints", version) == {}
    store.attach("checkpoints", version, "model-card.md", b"old")
    store.attach("checkpoints", version, "model-card.md", b"# new")
    store.attach("checkpoints", version, "makings/a.json", b"{}")
    assert store.attachments("checkpoints", version) == {"makings/a.json": b"{}", "model-card.md": b"# new"}
    assert store.check("checkpoints", version).version == version
    store.verified("checkpoints", version)
    put(store, source)
    assert len(store.attachments("checkpoints", version)) == 2
    assert store.versions("checkpoints") == [version]


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/../b", "a//b", ".hidden", "a/.b", "a/"])
def test_attachments_stay_where_they_belong(store: Store, source: Path, name: str) -> None:
    version = put(store, source).version
    with pytest.raises(UserError, match="nothing can be attached"):
        store.attach("checkpoints", version, name, b"")


def test_many_writers_of_one_version_and_its_attachments(store: Store, source: Path) -> None:
    versions, errors = set(), []

    def write(number: int) -> None:
        try:
            own = Store(store.url)
            version = put(own, source).version
            own.attach("checkpoints", version, f"makings/{number}.json", b"%d" % number)
            versions.add(version)
        except Exception as error:  # told below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(versions) == 1
    version = versions.pop()
    store.check("checkpoints", version)
    assert len(store.attachments("checkpoints", version)) == 6
    assert store.versions("checkpoints") == [version] and not list(store.root.rglob(".writing-*/manifest.json"))


def test_scratch_is_local(store: Store) -> None:
    with store.staging() as directory:
        assert directory.is_dir() and directory.is_relative_to(store.root)
    assert not directory.exists() and store.scratch.is_relative_to(store.root) and store.versions("scratch") == []
