"""Damage is found and named, and putting the same content again repairs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.seeds import digest
from personamem_pipeline.store import (
    MANIFEST,
    Store,
    attached_files,
    disk,
    file_problems,
    read_manifest,
    sha256_file,
    verify_files,
    writing,
)
from personamem_pipeline.store.manifest import parse_manifest
from tests.store.conftest import InBucket, elsewhere, put

DAMAGES = ["flipped", "cut", "gone", "stranger", "manifest", "no manifest"]
SAID = {
    "flipped": "sha256 is", "cut": "sha256 is", "gone": "file is missing", "stranger": "does not list this file",
    "manifest": "the manifest's digest is", "no manifest": "there is no manifest",
}  # fmt: skip


def damaged(content: bytes, how: str) -> bytes:
    return content[:-1] if how == "cut" else bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize("how", DAMAGES)
def test_in_a_directory(how: str, source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    manifest = put(store, source)
    store.attach("checkpoints", manifest.version, "a.json", b"{}")
    directory = store.path("checkpoints", manifest.version)
    weights = directory / "weights"
    if how in ("flipped", "cut"):
        weights.write_bytes(damaged(weights.read_bytes(), how))
    elif how == "gone":
        weights.unlink()
    elif how == "stranger":
        (directory / "deep" / "more.json").write_text("{}")
    elif how == "manifest":
        text = manifest.model_copy(update={"producer": {"seed": "1"}}).text
        (directory / MANIFEST).write_text(text)
    else:
        (directory / MANIFEST).unlink()
    for look in (store.verified, store.check):
        with pytest.raises(IntegrityError, match=SAID[how]):
            look("checkpoints", manifest.version)
    assert put(store, source) == manifest
    store.check("checkpoints", manifest.version)
    assert store.attachments("checkpoints", manifest.version) == {"a.json": b"{}"}


@pytest.mark.parametrize("how", DAMAGES)
def test_in_a_bucket(how: str, source: Path, bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = put(bucket.open(), source)
    at = f"checkpoints/{manifest.version}"
    if how in ("flipped", "cut"):
        bucket.set(f"{at}/weights", damaged(bucket.get(f"{at}/weights"), how))
    elif how == "gone":
        bucket.drop(f"{at}/weights")
    elif how == "stranger":
        bucket.set(f"{at}/deep/more.json", b"{}")
    elif how == "manifest":
        bucket.set(f"{at}/{MANIFEST}", manifest.model_copy(update={"producer": {"seed": "1"}}).text.encode())
    else:
        bucket.drop(f"{at}/{MANIFEST}")
    with pytest.raises(IntegrityError, match=SAID[how]):
        bucket.open().check("checkpoints", manifest.version)
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    if how != "stranger":  # which is not fetched
        with pytest.raises(IntegrityError, match=SAID[how]):
            far.verified("checkpoints", manifest.version)
        assert not list(far.root.glob("checkpoints/[!.]*"))
    assert put(far, source) == manifest
    far.check("checkpoints", manifest.version)
    far.verified("checkpoints", manifest.version)


def test_a_damaged_copy_is_fetched_again(bucket: InBucket, source: Path) -> None:
    store = bucket.open()
    version = put(store, source).version
    copy = store.path("checkpoints", version)
    (copy / "weights").write_bytes(b"x")
    assert store.read("checkpoints", version, "weights") == (source / "weights").read_bytes()
    assert store.verified("checkpoints", version) == copy
    assert (copy / "weights").read_bytes() == (source / "weights").read_bytes()
    (copy / MANIFEST).write_text("{")
    assert store.manifest("checkpoints", version).version == version
    store.verified("checkpoints", version)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a//b", "a/", "", ".", "./a"])
def test_a_manifest_that_names_a_file_elsewhere_is_none(
    path: str, source: Path, bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = put(bucket.open(), source)
    told = json.loads(manifest.text)
    told["files"][0]["path"] = path
    version = digest(told)
    for name in ("deep/config.json", "weights"):
        bucket.set(f"checkpoints/{version}/{name}", bucket.get(f"checkpoints/{manifest.version}/{name}"))
    bucket.set(f"checkpoints/{version}/{MANIFEST}", json.dumps(told).encode())
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    with pytest.raises(IntegrityError, match="no path below the manifest's directory"):
        far.verified("checkpoints", version)
    assert not [found for found in far.root.rglob("*") if found.is_file() and found.stat().st_size]


def test_a_word_that_nobody_reads_makes_it_no_manifest(source: Path, tmp_path: Path) -> None:
    manifest = put(Store(tmp_path / "store"), source)
    for where in ((told := json.loads(manifest.text)), told["files"][0]):
        where["note"] = "harmless"
        with pytest.raises(IntegrityError, match="not a manifest"):
            parse_manifest(json.dumps(told).encode(), where="here")
        del where["note"]
    assert parse_manifest(json.dumps(told).encode(), where="here") == manifest


def test_every_problem_is_found_also_a_link_to_a_directory(source: Path, tmp_path: Path) -> None:
    (source / "third").write_text("3")
    store = Store(tmp_path / "store")
    manifest = put(store, source)
    directory = store.path("checkpoints", manifest.version)
    (tmp_path / "elsewhere").mkdir()
    (directory / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="does not list this file"):
        store.check("checkpoints", manifest.version)
    (directory / "weights").write_bytes(b"x")
    (directory / "third").unlink()
    found = list(file_problems(directory, manifest))
    assert [(problem.path, problem.how) for problem in found] == [
        ("third", "missing"), ("weights", "changed"), ("more", "stray"),
    ]  # fmt: skip
    assert (
        found[1].listed == manifest.entry("weights", "").sha256 != found[1].found == sha256_file(directory / "weights")
    )


def test_what_is_attached_while_a_damaged_thing_is_put_again_stays(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    version = put(store, source).version
    (store.path("checkpoints", version) / "weights").write_bytes(b"x")
    discard = writing.discard

    def late(directory: Path, **how: Any) -> bool:
        store.attach("checkpoints", version, "a.json", b"{}")
        return discard(directory, **how)

    monkeypatch.setattr(disk, "discard", late)
    assert put(store, source).version == version
    store.check("checkpoints", version)
    assert store.attachments("checkpoints", version) == {"a.json": b"{}"}


def test_what_somebody_is_just_attaching_is_not_attached(source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    version = put(store, source).version
    store.attach("checkpoints", version, "makings/a.json", b"{}")
    (store.path("checkpoints", version) / "attached" / "makings" / ".writing-x").write_bytes(b"{")
    assert attached_files(store.path("checkpoints", version)) == {"makings/a.json": b"{}"}
    assert attached_files(tmp_path / "nowhere") == {}


def test_a_copied_directory_is_verified_without_a_store(source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    version = put(store, source).version
    store.attach("checkpoints", version, "makings/a.json", b"{}")
    verify_files(store.path("checkpoints", version), read_manifest(store.path("checkpoints", version)))
