"""A bucket's own troubles: errors that pass, errors that do not, writers that die, and a stage that stores there."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.store import MANIFEST, Store
from tests.store.conftest import InBucket, elsewhere, put
from tests.store.server import Fault, S3Server

ROOT = Path(__file__).resolve().parents[2]
PUT = """
import sys
from pathlib import Path
from personamem_pipeline.store import Store
store = Store(sys.argv[1])
store.put_directory("checkpoints", Path(sys.argv[2]), parents={}, producer={})
"""


@pytest.mark.parametrize("how", ["503", "500", "drop", "cut"])
def test_reading_outlives_what_passes(
    how: str, bucket: InBucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = put(bucket.open(), source).version
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    faults = [Fault("GET", "weights", how=how, times=2), Fault("GET", "list-type=2", how=how, times=1)]  # type: ignore[arg-type]
    bucket.server.faults.extend(faults)
    assert far.versions("checkpoints") == [version]
    assert (far.verified("checkpoints", version) / "weights").read_bytes() == (source / "weights").read_bytes()
    assert all(fault.met.is_set() and fault.times == 0 for fault in faults)


@pytest.mark.parametrize("how", ["503", "500", "drop"])
def test_writing_outlives_what_passes(how: str, bucket: InBucket, source: Path) -> None:
    faults = [Fault(method, f"{name}[?]", how=how) for method, name in (("PUT", "weights"), ("PUT", MANIFEST))]  # type: ignore[arg-type]
    bucket.server.faults.extend(faults)
    version = put(bucket.open(), source).version
    assert all(fault.met.is_set() for fault in faults)
    bucket.open().check("checkpoints", version)


def test_a_large_file_goes_in_parts_and_outlives_the_loss_of_one(bucket: InBucket, source: Path) -> None:
    (source / "weights").write_bytes(bytes(range(256)) * (25 << 12))  # 25 MiB
    fault = Fault("PUT", "partNumber=2", how="503")
    bucket.server.faults.append(fault)
    version = put(bucket.open(), source).version
    assert fault.met.is_set()
    bucket.open().check("checkpoints", version)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [("403", "AccessDenied", "access is denied"), ("403", "InvalidAccessKeyId", "credentials are refused"),
     ("403", "SignatureDoesNotMatch", "credentials are refused"), ("400", "ExpiredToken", "credentials are refused"),
     ("403", "SomethingNew", "access is denied"), ("301", "PermanentRedirect", "in another region"),
     ("400", "AuthorizationHeaderMalformed", "in another region")],
)  # fmt: skip
def test_no_access_is_said_clearly_and_not_tried_for_long(
    status: str, code: str, said: str, bucket: InBucket, source: Path
) -> None:
    for method in ("GET", "PUT", "POST"):
        bucket.server.faults.append(Fault(method, bucket.name, how="refuse", status=status, code=code, times=999))
    started = time.monotonic()
    with pytest.raises(UserError, match=said) as refused:
        bucket.open().versions("checkpoints")
    assert bucket.url in str(refused.value) and bucket.server.endpoint in str(refused.value)
    with pytest.raises(UserError, match=said):
        put(bucket.open(), source)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(("status", "said"), [("403", "access is denied"), ("301", "in another region")])
def test_a_refused_head_has_no_words(status: str, said: str, bucket: InBucket) -> None:
    bucket.server.faults.append(Fault("HEAD", bucket.name, how="refuse", status=status, times=999))
    with pytest.raises(UserError, match=said):
        bucket.open().has("checkpoints", "0" * 64)


def test_no_bucket_is_no_empty_store(s3: S3Server, source: Path) -> None:
    store = Store("s3://nobody-made-this/x")
    for use in (lambda: store.versions("a"), lambda: store.has("a", "b"), lambda: put(store, source)):
        with pytest.raises(UserError, match="there is no such bucket"):
            use()


@pytest.mark.parametrize("url", ["s3://", "s3://key:secret@bucket/x", "s3://bucket?region=x", "gs://bucket"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UserError, match=r"s3://bucket/prefix"):
        Store(url)


def test_a_server_that_is_away_is_no_bad_input(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a stage that met it is tried again."""
    monkeypatch.setenv("PERSONAMEM_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("personamem_pipeline.store.objects.ATTEMPTS", 2)
    with pytest.raises(ConnectionError, match=r"s3://bucket-away/x at http://127.0.0.1:9 does not answer"):
        Store("s3://bucket-away/x").versions("checkpoints")


@pytest.mark.parametrize("during", ["weights[?]", f"{MANIFEST}[?]"])
def test_a_killed_writer_leaves_nothing_that_looks_whole(
    during: str, bucket: InBucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault("PUT", during, how="hang")
    bucket.server.faults.append(fault)
    with subprocess.Popen([sys.executable, "-c", PUT, bucket.url, str(source)], cwd=ROOT) as process:
        assert fault.met.wait(60)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    assert far.versions("checkpoints") == []
    fault.release.set()


def test_what_a_killed_writer_left_is_not_in_the_way(bucket: InBucket, source: Path) -> None:
    version = put(bucket.open(), source).version
    at = f"checkpoints/{version}"
    bucket.drop(f"{at}/{MANIFEST}")
    bucket.set(f"{at}/weights", b"half")
    store = bucket.open()
    assert not store.has("checkpoints", version)
    with pytest.raises(IntegrityError, match="there is no manifest"):
        store.check("checkpoints", version)
    put(store, source)
    store.check("checkpoints", version)


def test_one_of_many_readers_fetches(
    bucket: InBucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = put(bucket.open(), source).version
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    bucket.server.calls.clear()
    readers = [threading.Thread(target=lambda: Store(far.url).verified("checkpoints", version)) for _ in range(5)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert bucket.server.count("GET", "/weights") == 1


def test_looking_does_not_fetch(
    bucket: InBucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = put(bucket.open(), source).version
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    bucket.server.calls.clear()
    assert far.has("checkpoints", version) and far.versions("checkpoints") == [version]
    assert far.manifest("checkpoints", version).version == version
    assert far.read("checkpoints", version, "deep/config.json") == b"{}"
    assert not bucket.server.count("GET", "/weights") and not far.root.exists()


def test_a_server_that_falls_silent_is_asked_again(
    bucket: InBucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = put(bucket.open(), source).version
    silent = Fault("GET", "weights", how="hang")
    bucket.server.faults.append(silent)
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    far.verified("checkpoints", version)
    assert silent.met.is_set() and bucket.server.count("GET", "/weights") >= 2
    silent.release.set()
