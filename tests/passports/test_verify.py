"""`personamem verify`: a whole chain, and every kind of damage by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.lineage import GRAPH, PASSPORT
from personamem_pipeline.passports.finding import FoundCheckpoint, newest
from personamem_pipeline.passports.links import changed_file
from personamem_pipeline.passports.making import attach_making
from personamem_pipeline.passports.records import ROWS, Git
from personamem_pipeline.passports.trace import rows_of, sights
from personamem_pipeline.seeds import rng
from personamem_pipeline.store import ATTACHED, MANIFEST
from personamem_pipeline.store import ROWS as SHARD_ROWS
from tests.passports.chains import SEEDS_FILE, TABLES, Chain, making, questions
from tests.passports.damages import DAMAGES, FILES, WEIGHTS, in_shard
from tests.passports.damaging import flip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_found_and_named(chain: Chain, damage: Callable[[Chain], tuple[str, str, str]]) -> None:
    about, what, means = damage(chain)
    found = chain.verify()
    first = found.first_break
    assert first is not None and (first.about, first.what) == (about, what)
    assert means in first.means
    assert found.exit_code == 1


def test_a_whole_chain_is_whole(whole: Chain) -> None:
    found = whole.verify()
    notes = {link.what.partition(" ")[0] for link in found.links if link.status != "ok"}
    assert notes == {"making"} and not found.of("gap"), "what a making states, nothing proves"
    assert found.outcome == "whole" and found.exit_code == 0
    about = {link.about for link in found.links}
    assert {whole.label(name, shard) for name, shards in whole.shards.items() for shard in shards} <= about
    assert {whole.label(name) for name in whole.versions if name != "benchmark"} <= about
    assert any(link.what == f"source {SEEDS_FILE}" for link in found.links), "down to the seeds' file"


def test_the_damage_of_a_relative_is_not_ours(chain: Chain) -> None:
    flip(chain.directory("grpo_checkpoint") / WEIGHTS)
    assert chain.verify("sft_checkpoint").outcome == "whole"
    assert chain.verify("grpo_checkpoint").outcome == "broken"


def test_one_changed_byte_in_any_file_is_found(chain: Chain) -> None:
    def files() -> Iterator[Path]:
        for path in sorted(chain.store.root.rglob("*")):
            if path.is_file() and path.relative_to(chain.store.root).parts[0] not in ("benchmark", "viewers"):
                yield path

    checked = 0
    for path in files():
        before = path.read_bytes()
        draw = rng(0, "a byte", path.name, path.parent.name)
        flip(path, draw.randrange(len(before)), draw.randrange(1, 256))
        assert chain.verify().outcome == "broken", path
        path.write_bytes(before)
        checked += 1
    assert checked > 30 and chain.verify().outcome == "whole"


def test_a_word_of_the_manifest_that_nobody_reads(chain: Chain) -> None:
    path = chain.directory("base_model") / MANIFEST
    whole = path.read_text()
    for other, found in (('"cows": null', "not a manifest"), ('"rows":  null', f"{MANIFEST}: is not written as")):
        path.write_text(whole.replace('"rows": null', other, 1))
        first = chain.verify().first_break
        assert first is not None and first.about == chain.label("base_model") and found in first.found


def old_passport(name: str, inputs: dict[str, str]) -> dict[str, Any]:
    """A passport of format 1, as the first trainings wrote them."""
    return {"stage": name, "inputs": inputs, "code_version": f"{name}/1", "rows": 1920}


def test_what_a_passport_of_format_1_does_not_state_is_a_gap(chain: Chain) -> None:
    for name in ("sft_checkpoint", "grpo_checkpoint"):
        with chain.store.staging() as directory:
            inputs = {parent: chain.versions[parent] for parent in GRAPH[name].parents}
            (directory / PASSPORT).write_text(json.dumps(old_passport(name, inputs)))
            (directory / WEIGHTS).write_bytes(name.encode())
            producer = {"stage": name, "code_version": f"{name}/1"}
            made = chain.store.put_directory("checkpoints", directory, parents=inputs, producer=producer)
        chain.versions[name] = made.version
    found = chain.verify()
    assert found.outcome == "incomplete" and found.exit_code == 3
    gaps = {(link.about, link.what) for link in found.of("gap")}
    for name in ("sft_checkpoint", "grpo_checkpoint"):
        assert {(chain.label(name), "passport states everything"), (chain.label(name), "has a making")} <= gaps
    flip(chain.directory("personas", "00") / SHARD_ROWS)
    assert chain.verify().exit_code == 1, "what is stated is verified all the same"


def test_a_source_that_is_not_at_hand_is_a_gap(chain: Chain) -> None:
    (chain.project / SEEDS_FILE).unlink()
    (gap,) = chain.verify().of("gap")
    assert gap.what == f"source {SEEDS_FILE}" and "is not here; its sha256 was" in gap.found


def test_a_table_of_another_commit_is_a_gap_that_names_the_commit(chain: Chain) -> None:
    (chain.project / TABLES).write_text("other: tables")
    found = chain.verify()
    (gap,) = found.of("gap")
    assert (
        found.exit_code == 3 and gap.what == f"source {TABLES}" and "another commit, which no making names" in gap.means
    )
    git = Git(commit="c0ffee" * 6 + "c0ff", dirty=False)
    attach_making(chain.store, making(chain, "grpo_checkpoint", finished="2026-11-24T10:00:00Z", git=git))
    (gap,) = chain.verify().of("gap")
    assert "of commit c0ffeec0ffee" in gap.means
    flip(chain.project / SEEDS_FILE)
    sources = [link for link in chain.verify().links if link.what.startswith("source ")]
    assert [link.status for link in sources] == ["BROKEN", "gap"], "a file of the user's is a break, and stands first"


def test_a_run_that_only_found_the_checkpoint_says_nothing_of_how_it_was_made(chain: Chain) -> None:
    (chain.project / TABLES).write_text("other: tables")
    git = Git(commit="c0ffee" * 6 + "c0ff", dirty=False)
    later: dict[str, Any] = {"finished": "2026-11-25T10:00:00Z", "answered": True, "packages": {"torch": "3.0"}}
    attach_making(chain.store, making(chain, "grpo_checkpoint", finished="2026-11-24T10:00:00Z", git=git))
    attach_making(chain.store, making(chain, "grpo_checkpoint", git=Git(commit="0" * 40, dirty=False), **later))
    found = chain.verify()
    assert any(
        link.found == f"answered by Dagster run run-1 at {later['finished']}, trained nothing" for link in found.links
    )
    assert sum(link.found.startswith("finished ") for link in found.links) == 4
    (gap,) = found.of("gap")
    assert "of commit c0ffeec0ffee" in gap.means and found.exit_code == 3
    for path in (chain.directory("grpo_checkpoint") / ATTACHED / "makings").glob("2026112[34]*"):
        path.unlink()
    made, table = chain.verify().of("gap")
    assert made.found == "none of a run that trained it is attached" and "which no making names" in table.means


def test_a_manifest_that_does_not_state_its_stage_is_a_gap_everywhere(chain: Chain) -> None:
    store, old = chain.store, chain.versions["grpo_checkpoint"]
    with store.staging() as directory:
        for entry in store.manifest("checkpoints", old).files:
            shutil.copy(chain.directory("grpo_checkpoint") / entry.path, directory / entry.path)
        parents = store.manifest("checkpoints", old).parents
        shutil.rmtree(chain.directory("grpo_checkpoint"))
        chain.versions["grpo_checkpoint"] = store.put_directory(
            "checkpoints", directory, parents=parents, producer={}
        ).version
    assert newest(store, "grpo_checkpoint") == chain.versions["grpo_checkpoint"]
    found = chain.verify()
    assert found.stage == "grpo_checkpoint" and found.exit_code == 3, found.of("BROKEN")
    assert "states no code version and no stage" in found.of("gap")[0].found
    row = questions(chain)[0].question_id
    own = {sight.stage: sight.how for sight in sights(store, row)}
    assert own == {"sft_checkpoint": "directly", "grpo_checkpoint": "directly"}
    assert [each.stage for each in rows_of(store, FoundCheckpoint(chain.versions["grpo_checkpoint"]))] == [
        "grpo_checkpoint", "sft_checkpoint"
    ]  # fmt: skip


def test_the_command_tells_people_what_a_break_means(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(chain.store.root)]
    version = chain.versions["grpo_checkpoint"]
    in_shard(chain)
    assert main(["verify", "grpo_checkpoint", *store]) == 1
    out = capsys.readouterr().out
    assert f"first broken link: {chain.label('questions', '01')}: {FILES}" in out
    assert "means: these are not the rows that training_dataset" in out and "do not rely on this checkpoint" in out
    assert "personas, 2 shards" in out and "BROKEN" in out
    assert main(["verify", version[:8], *store, "--all"]) == 1
    assert chain.label("personas", "00") in capsys.readouterr().out


def test_a_broken_root_is_broken_and_not_bad_input(chain: Chain) -> None:
    path = chain.directory("grpo_checkpoint") / MANIFEST
    path.write_text("{")
    (link,) = chain.verify().links
    assert link.status == "BROKEN" and link.what == "has its manifest"


def test_each_kind_of_file_has_a_meaning_of_its_own() -> None:
    names = [PASSPORT, ROWS, WEIGHTS, SHARD_ROWS, "README.md"]
    assert len({changed_file(name, "child") for name in names}) == len(names)
