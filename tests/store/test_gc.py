"""What garbage collection takes, what it leaves, and that being killed or outrun by a writer does no harm."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.store import MANIFEST, Store, gc, writing
from personamem_pipeline.store.place import Held, Leftover
from personamem_pipeline.store.runs import Run
from tests.store.conftest import InBucket, elsewhere
from tests.store.server import Fault

ROOT = Path(__file__).resolve().parents[2]
DAY = 24 * 3600.0
NOW = 100 * DAY
KILLED = """
import os, shutil, signal, sys, time
from personamem_pipeline.store import Store, gc
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
store = Store(sys.argv[1])
found = gc.look(store)
gc.execute(store, gc.Plan((), found.things, (), (), ()))
"""


def version(number: int) -> str:
    return f"{number:064x}"


def held(number: int, kind: str = "checkpoints", *, age: float = 30 * DAY, whole: bool = True) -> Held:
    return Held(kind, version(number), 10, NOW - age, whole)


def decide(
    things: list[Held], alive: set[int], names: Mapping[int, set[int]] | None = None, *, keep_reports: int = 0,
    runs: tuple[Run, ...] = (), leftovers: tuple[Leftover, ...] = (),
) -> gc.Plan:  # fmt: skip
    named = {version(key): {version(one) for one in found} for key, found in (names or {}).items()}
    return gc.plan(
        gc.Found(tuple(things), runs, leftovers), {version(number) for number in alive},
        lambda one: named.get(one.version, set()), now=NOW, age=DAY, keep_reports=keep_reports,
    )  # fmt: skip


def gone(plan: gc.Plan) -> set[int]:
    return {int(one.version, 16) for one in plan.things}


def test_what_the_living_name_stays_down_to_the_last() -> None:
    things = [held(number) for number in range(6)]
    assert gone(decide(things, {0}, {0: {1}, 1: {2, 3}, 4: {3, 5}})) == {4, 5}


def test_the_young_stay_with_what_they_come_from() -> None:
    things = [held(0), held(1, age=DAY / 2), held(2), held(3)]
    assert gone(decide(things, {0}, {1: {2}})) == {3}


def test_reports_keep_what_they_are_about_but_not_each_other() -> None:
    reports = [held(number, "reports", age=(20 - number) * DAY) for number in (10, 11, 12)]
    things = [*reports, *(held(number) for number in (0, 1, 2))]
    names = {10: {0}, 11: {1, 10}, 12: {2, 11}}
    assert gone(decide(things, {12}, names)) == {10, 11, 0, 1}
    assert gone(decide(things, {12}, names, keep_reports=2)) == {10, 0}
    assert gone(decide(things, {12}, names, keep_reports=99)) == set()


def test_half_things_are_kept_for_a_day_and_name_nothing() -> None:
    things = [held(0), held(1, whole=False), held(2, whole=False, age=1.0), held(3)]
    assert gone(decide(things, {0}, {1: {3}, 2: {3}})) == {1, 3}


def test_scratch_goes_with_its_result_and_leftovers_with_age() -> None:
    def run(number: int, age: float) -> Run:
        return Run(Path(str(number)), frozenset([version(number)]), 5, NOW - age)

    runs = (run(0, 9 * DAY), run(1, 9 * DAY), run(2, 1.0))
    leftovers = (Leftover(".writing-a", 7, NOW - 9 * DAY), Leftover(".writing-b", 7, NOW - 1))
    plan = decide([held(0)], {0}, runs=runs, leftovers=leftovers)
    assert plan.runs == (runs[1],) and plan.leftovers == (leftovers[0],) and plan.bytes == 12


def test_a_store_that_dagster_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="none of the 1 versions in the store is the latest of any asset"):
        decide([held(0)], set())
    with pytest.raises(UserError, match="belong together"):
        decide([held(0)], {1})
    assert decide([], {1}).missing == (version(1),)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20),
    st.sets(st.integers(0, 9), min_size=1),
    st.lists(st.sampled_from([0.1, 2.0]), min_size=10, max_size=10),
)
def test_nothing_that_stays_names_what_goes(edges: list[tuple[int, int]], alive: set[int], days: list[float]) -> None:
    names: dict[int, set[int]] = {}
    for child, parent in edges:
        names.setdefault(child, set()).add(parent)
    things = [held(number, age=days[number] * DAY) for number in range(10)]
    plan = decide(things, alive, names)
    went = gone(plan)
    assert not went & alive
    assert sorted([*(one.version for one in plan.kept), *map(version, went)]) == [version(n) for n in range(10)]
    assert all(days[number] > 1 for number in went)
    assert not any(names.get(number, set()) & went for number in set(range(10)) - went)


def make(store: Store, kind: str, where: Path, *parents: str, name: str = "a", passport: object = None) -> str:
    where.mkdir(parents=True, exist_ok=True)
    (where / "content").write_text(name)
    (where / "passport.json").unlink(missing_ok=True)
    if passport:
        (where / "passport.json").write_text(json.dumps(passport))
    named = {f"personas/{number:02d}": parent for number, parent in enumerate(parents)}
    return store.put_directory(kind, where, parents=named, producer={"name": name}).version


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def choose(store: Store, *alive: str, later: float = 2 * DAY) -> gc.Plan:
    """What would go if it were two days later."""
    return gc.plan(
        gc.look(store), alive, lambda one: gc.named_by(store, one), now=time.time() + later, age=DAY, keep_reports=0
    )


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
    for run, made in {"sft_checkpoint-1": kept, "sft_checkpoint-2": version(7), "sft_checkpoint-3": None}.items():
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
    for run, inputs in {"a": {"x": kept, "y": version(7)}, "b": {"x": version(7)}}.items():
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


def test_what_is_put_again_while_a_bucket_deletes_it_stays(bucket: InBucket, tmp_path: Path) -> None:
    store = bucket.open()
    kept, old = (make(store, "personas", tmp_path / "made", name=name) for name in ("kept", "old"))
    store.attach("personas", old, "makings/a.json", b"{}")
    plan = choose(store, kept)
    deletes = Fault("DELETE", f"{old}/{MANIFEST}", how="hang")
    bucket.server.faults.append(deletes)
    freed: list[int] = []
    collecting = threading.Thread(target=lambda: freed.append(gc.execute(store, plan)))
    collecting.start()
    assert deletes.met.wait(60)
    time.sleep(1.1)  # S3 knows seconds
    bucket.set(f"personas/{old}/content", b"old")  # a writer sends the same again
    deletes.release.set()
    collecting.join()
    assert freed == [0]
    store.check("personas", old)
    assert store.attachments("personas", old) == {"makings/a.json": b"{}"}
