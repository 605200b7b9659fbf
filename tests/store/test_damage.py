"""Damage is found and named, and putting the same content again repairs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.store import MANIFEST, Store, read_manifest, verify_files
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


def test_a_copied_directory_is_verified_without_a_store(source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    version = put(store, source).version
    store.attach("checkpoints", version, "makings/a.json", b"{}")
    verify_files(store.path("checkpoints", version), read_manifest(store.path("checkpoints", version)))
