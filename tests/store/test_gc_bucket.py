"""Garbage collection in a bucket, where nothing can be renamed: halves, copies, and writers who outrun it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.store import MANIFEST, gc
from personamem_pipeline.store.objects import Objects
from personamem_pipeline.store.remote import Remote
from tests.store.collecting import choose, make
from tests.store.conftest import InBucket, elsewhere


def test_half_of_a_deleted_or_uploaded_thing_is_taken_from_a_bucket(bucket: InBucket, tmp_path: Path) -> None:
    store = bucket.open()
    kept, old = (make(store, "personas", tmp_path / "made", name=name) for name in ("kept", "old"))
    bucket.drop(f"personas/{old}/{MANIFEST}")
    assert store.versions("personas") == [kept]
    plan = choose(store, kept)
    assert [(one.version, one.whole) for one in plan.things] == [(old, False)]
    gc.execute(store, plan)
    assert not [key for key in bucket.names() if old in key]


def test_copies_of_what_others_deleted_go_too(
    bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket.open()
    kept, old = (make(store, "personas", tmp_path / "made", name=name) for name in ("kept", "old"))
    far = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
    gc.execute(far, choose(far, kept))
    assert store.root.joinpath("personas", old).is_dir() and not store.has("personas", old)
    plan = choose(store, kept)
    assert f"personas/{old}" in {one.path for one in plan.leftovers}
    gc.execute(store, plan)
    assert not store.path("personas", old).exists() and store.verified("personas", kept).is_dir()


class Meeting:
    """An old thing that is about to be deleted, and somebody elsewhere who puts it again at a moment of that."""

    def __init__(self, bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self._monkeypatch, self._met = tmp_path / "made", monkeypatch, False
        self.store = bucket.open()
        kept, self.old = (make(self.store, "personas", self.made, name=name) for name in ("kept", "old"))
        self.store.attach("personas", self.old, "makings/a.json", b"{}")
        self.plan = choose(self.store, kept)
        self.writer = elsewhere(monkeypatch, tmp_path / "far", bucket.url)
        time.sleep(1.1)  # S3 knows seconds

    def put(self) -> None:
        assert make(self.writer, "personas", self.made, name="old") == self.old

    def once(self, do: Callable[[], object]) -> None:
        if not self._met:
            self._met = True
            do()

    def before_deletion_of(self, name: str, do: Callable[[], object]) -> None:
        delete = Objects.delete

        def met(objects: Objects, deleted: str) -> None:
            if deleted == f"personas/{self.old}/{name}":
                self.once(do)
            delete(objects, deleted)

        self._monkeypatch.setattr(Objects, "delete", met)


@pytest.fixture
def meeting(bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Meeting:
    return Meeting(bucket, tmp_path, monkeypatch)


def test_whoever_puts_it_before_its_manifest_is_deleted_keeps_it(meeting: Meeting) -> None:
    """He found it whole, and wrote nothing that the deletion of the manifest does not take with it, or so it seems."""
    meeting.before_deletion_of(MANIFEST, meeting.put)
    assert gc.execute(meeting.store, meeting.plan) == 0
    meeting.writer.check("personas", meeting.old)
    assert meeting.store.attachments("personas", meeting.old) == {"makings/a.json": b"{}"}


def test_whoever_saw_it_and_comes_when_the_manifest_is_gone_sends_it_all(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He asks, the garbage collection does all of its work, and he goes on."""
    has = Remote.has

    def asked(remote: Remote, kind: str, version: str) -> bool:
        answer = has(remote, kind, version)
        if version == meeting.old:
            meeting.once(lambda: gc.execute(meeting.store, meeting.plan))
        return answer

    monkeypatch.setattr(Remote, "has", asked)
    meeting.put()
    assert meeting.store.attachments("personas", meeting.old) == {}, "it was deleted in between"
    meeting.writer.check("personas", meeting.old)


def test_what_was_deleted_of_what_somebody_sent_is_told(meeting: Meeting, bucket: InBucket) -> None:
    meeting.before_deletion_of("content", meeting.put)
    with pytest.raises(IntegrityError, match=rf"{meeting.old}: somebody put it again while it was deleted.*content"):
        gc.execute(meeting.store, meeting.plan)
    assert f"personas/{meeting.old}/{MANIFEST}" in bucket.names(), "it is not for garbage collection to delete twice"
    assert meeting.store.path("personas", meeting.old).is_dir(), "the copy may be the last one"
    meeting.put()
    meeting.store.check("personas", meeting.old)


def test_a_manifest_that_came_back_alone_is_told(meeting: Meeting, bucket: InBucket) -> None:
    """An older writer's: he touched the manifest of what he had found."""
    content = bucket.get(f"personas/{meeting.old}/{MANIFEST}")
    meeting.before_deletion_of("content", lambda: bucket.set(f"personas/{meeting.old}/{MANIFEST}", content))
    with pytest.raises(IntegrityError, match="materialize the asset again"):
        gc.execute(meeting.store, meeting.plan)


def test_what_is_sent_after_everything_was_deleted_stays(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    has = Remote.has

    def asked(remote: Remote, kind: str, version: str) -> bool:
        meeting.once(meeting.put)  # the garbage collection's last look
        return has(remote, kind, version)

    monkeypatch.setattr(Remote, "has", asked)
    assert gc.execute(meeting.store, meeting.plan) == 0
    meeting.store.check("personas", meeting.old)


def test_two_garbage_collections_at_once(meeting: Meeting, bucket: InBucket) -> None:
    meeting.before_deletion_of(MANIFEST, lambda: gc.execute(meeting.writer, meeting.plan))
    gc.execute(meeting.store, meeting.plan)
    assert not [key for key in bucket.names() if meeting.old in key]
