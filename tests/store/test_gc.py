"""What garbage collection takes, what it leaves, and that being killed or outrun by a writer does no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.store import MANIFEST, Store, gc, writing
from tests.store.collecting import DAY, choose, make

ROOT = Path(__file__).resolve().parents[2]
KILLED = """
import os, shutil, signal, sys, time
from personamem_pipeline.store import Store, gc
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
store = Store(sys.argv[1])
found = gc.look(store)
gc.execute(store, gc.Plan((), found.things, (), (), ()))
"""


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_manifests_and_passports_are_followed(store: Store, tmp_path: Path) -> None:
    where = tmp_path / "made"
    shard, other, lone = (make(store, "personas", where, name=name) for name in ("shard", "other", "lone"))
    dataset = make(store, "training_dataset", where, shard)
    checkpoint = make(store, "checkpoints", where, dataset, passport={"data": {"shards": [other]}})
    store.attach("checkpoints", checkpoint, "makings/a.json", b"{}")
    assert choose(store, checkpoint, later=0).things == ()
    plan = choose(store, checkpoint)
    assert [one.version for one in plan.things] == [lone] and plan.bytes > 0
    assert gc.execute(store, plan) == plan.bytes
    assert store.versions("personas") == [v for v in store.versions("personas") if v != lone]
    assert not store.has("personas", lone) and not store.path("personas", lone).exists()
    for kind, made in (("personas", shard), ("training_dataset", dataset), ("checkpoints", checkpoint)):
        store.check(kind, made)
    assert choose(store, checkpoint).bytes == 0


def test_a_damaged_living_thing_stops_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = make(store, "checkpoints", tmp_path / "made", passport={})
    (store.path("checkpoints", made) / MANIFEST).write_text("{}")
    with pytest.raises(IntegrityError):
        choose(store, made)


def test_a_living_thing_without_a_manifest_stops_it(
    store: Store, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A garbage collection that went on would delete it, and the dataset that only it names."""
    dataset = make(store, "training_dataset", tmp_path / "made")
    made = make(store, "checkpoints", tmp_path / "made", dataset, name="champion")
    other = make(store, "checkpoints", tmp_path / "made", name="other")
    if store.url.startswith("s3://"):
        request.getfixturevalue("bucket").drop(f"checkpoints/{made}/{MANIFEST}")
    else:
        (store.path("checkpoints", made) / MANIFEST).unlink()
    with pytest.raises(IntegrityError, match=f"^checkpoints/{made}: .* has no manifest"):
        choose(store, made, other)
    make(store, "checkpoints", tmp_path / "made", dataset, name="champion")  # what the error says to do
    assert choose(store, made, other).things == ()


def test_the_inputs_of_a_stage_in_a_shell_stay(store: Store, tmp_path: Path) -> None:
    kept, dataset = (make(store, "training_dataset", tmp_path / "made", name=name) for name in ("kept", "dataset"))
    (store.scratch / "sft").mkdir(parents=True)
    work = store.scratch / "sft" / "job.json"
    work.write_text(json.dumps({"stage": "sft_checkpoint", "inputs": {"training_dataset": dataset}}))
    then = time.time() + 2 * DAY
    for path in (work, work.parent):
        os.utime(path, (then, then))
    plan = choose(store, kept)
    assert plan.things == () and plan.runs == ()
    assert [one.version for one in choose(store, kept, later=4 * DAY).things] == [dataset]


def test_what_is_put_again_after_the_decision_stays(store: Store, tmp_path: Path) -> None:
    where = tmp_path / "made"
    kept, old = make(store, "personas", where, name="kept"), make(store, "personas", where, name="old")
    plan = choose(store, kept)
    assert [one.version for one in plan.things] == [old]
    time.sleep(1.1)  # S3 knows seconds
    make(store, "personas", where, name="old")
    assert gc.execute(store, plan) == 0
    store.check("personas", old)
    assert not list(store.root.rglob(".trash-*"))


def test_killed_in_the_middle_it_leaves_what_the_next_one_takes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old = make(store, "personas", tmp_path / "made", name="old")
    process = subprocess.run([sys.executable, "-c", KILLED, store.url], cwd=ROOT, check=False)
    assert process.returncode == -9
    assert not store.has("personas", old) and store.versions("personas") == []
    kept = make(store, "personas", tmp_path / "made", name="kept")
    plan = choose(store, kept)
    assert [one.path.startswith("personas/.trash-") for one in plan.leftovers] == [True]
    gc.execute(store, plan)
    assert [path.name for path in (store.root / "personas").iterdir()] == [kept]


def test_leftovers_of_killed_writers_and_finished_runs(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    kept = make(store, "checkpoints", tmp_path / "made")
    store.attach("checkpoints", kept, "makings/a.json", b"{}")
    beside = f"checkpoints/{kept}/attached/makings/.writing-d"
    for name in (".writing-a", "checkpoints/.writing-b", ".trash-c"):
        (store.root / name).mkdir(parents=True)
        (store.root / name / "half").write_bytes(b"123")
    (store.root / "checkpoints" / ".writing-file").write_bytes(b"1")
    (store.root / beside).write_bytes(b"12")
    for run, made in {"sft_checkpoint-1": kept, "sft_checkpoint-2": "7" * 64, "sft_checkpoint-3": None}.items():
        (store.scratch / run / "checkpoint-5").mkdir(parents=True)
        if made:
            (store.scratch / run / "result.json").write_text(json.dumps({"version": made}))
    (store.scratch / "answers").mkdir()
    plan = choose(store, kept)
    assert [run.directory.name for run in plan.runs] == ["sft_checkpoint-2"]
    assert len(plan.leftovers) == 5 and beside in {one.path for one in plan.leftovers}
    assert plan.bytes == 12 + plan.runs[0].bytes and list(store.attachments("checkpoints", kept)) == ["makings/a.json"]
    assert choose(store, kept, later=0).leftovers == ()
    gc.execute(store, plan)
    assert names(store.root) == ["checkpoints", "scratch"]
    assert names(store.scratch) == ["answers", "sft_checkpoint-1", "sft_checkpoint-3"]
    assert names(store.root / "checkpoints") == [kept] and not (store.root / beside).exists()
    assert store.attachments("checkpoints", kept) == {"makings/a.json": b"{}"}


def test_scratch_of_an_unfinished_run_goes_with_the_last_of_its_parents(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    kept = make(store, "checkpoints", tmp_path / "made")
    for run, inputs in {"a": {"x": kept, "y": "7" * 64}, "b": {"x": "7" * 64}}.items():
        (store.scratch / run / "checkpoint-5").mkdir(parents=True)
        (store.scratch / run / "job.json").write_text(json.dumps({"stage": "sft_checkpoint", "inputs": inputs}))
    assert choose(store, kept, later=0).runs == ()
    gc.execute(store, choose(store, kept))
    assert names(store.scratch) == ["a"]
    (store.scratch / "a" / "job.json").write_text("{}")
    with pytest.raises(IntegrityError, match="does not say what the work is"):
        choose(store, kept)


def test_what_is_put_again_while_it_is_deleted_keeps_what_was_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    kept, old = (make(store, "personas", tmp_path / "made", name=name) for name in ("kept", "old"))
    store.attach("personas", old, "makings/a.json", b"first")
    store.attach("personas", old, "model-card.md", b"first")
    plan = choose(store, kept)
    look = writing.weigh

    def outrun(path: Path) -> tuple[int, float] | None:
        """The writer puts and attaches when it was renamed away and not yet deleted."""
        make(store, "personas", tmp_path / "made", name="old")
        store.attach("personas", old, "model-card.md", b"second")
        return look(path)

    monkeypatch.setattr(writing, "weigh", outrun)
    gc.execute(store, plan)
    store.check("personas", old)
    assert store.attachments("personas", old) == {"makings/a.json": b"first", "model-card.md": b"second"}
    assert not list(store.root.rglob(".trash-*"))
