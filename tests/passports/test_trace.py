"""`personamem lineage`: rows of a checkpoint, and checkpoints of a row or a person."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.passports.finding import FoundCheckpoint
from personamem_pipeline.passports.records import ROWS
from personamem_pipeline.passports.trace import Sight, rows_of, sights
from personamem_pipeline.store import Manifest
from tests.passports.chains import Chain, checkpoint, questions, trained
from tests.passports.command import told
from tests.passports.damaging import flip

SFT, GRPO = "sft_checkpoint", "grpo_checkpoint"


def seen(chain: Chain, name: str) -> dict[str, Sight]:
    """What the chain's own checkpoints have to do with a row or person, by asset."""
    assets = {chain.versions[asset]: asset for asset in (SFT, GRPO)}
    return {assets[sight.checkpoint]: sight for sight in sights(chain.store, name)}


def test_the_rows_of_a_checkpoint_and_of_the_one_it_grew_from(whole: Chain) -> None:
    own, parent = rows_of(whole.store, FoundCheckpoint(whole.versions[GRPO]))
    assert (own.stage, parent.stage) == (GRPO, SFT)
    asked = [row.question_id for row in questions(whole)]
    assert own.used and own.used.ids == tuple(sorted(asked[:4])) and len(own.used.steps) == 1
    assert parent.used and set(asked[:-4]) <= set(parent.used.ids), "questions and the persons they are about"
    assert not own.problem and not parent.problem


def test_a_row_is_seen_directly_through_a_parent_or_by_nobody(whole: Chain) -> None:
    rows = questions(whole)
    first = seen(whole, rows[0].question_id)
    assert (first[SFT].how, first[GRPO].how) == ("directly", "directly")
    assert first[SFT].steps == {rows[0].question_id: [1]} and first[GRPO].steps == {rows[0].question_id: [1]}
    later = seen(whole, rows[8].question_id)
    assert later[SFT].steps == {rows[8].question_id: [3]}
    assert later[GRPO].how == "through a parent" and whole.versions[SFT][:12] in later[GRPO].why
    assert later[GRPO].retrain and not later[GRPO].steps
    last = seen(whole, rows[-1].question_id)
    assert (last[SFT].how, last[GRPO].how) == ("by no step", "by no step")
    assert not any(sight.retrain for sight in last.values())


def test_a_person_is_all_of_their_rows(whole: Chain) -> None:
    person = questions(whole)[0].person_id
    own = {row.question_id for row in questions(whole)[:-4] if row.person_id == person}
    sight = seen(whole, person)[SFT]
    assert set(sight.steps) == {person, *own} and sight.retrain


def test_what_cannot_be_told_counts_as_seen(chain: Chain) -> None:
    last = questions(chain)[-1].question_id
    flip(chain.directory(SFT) / ROWS)
    found = seen(chain, last)
    assert (found[SFT].how, found[GRPO].how) == ("cannot be told", "cannot be told")
    assert found[GRPO].why == f"sft_checkpoint {chain.versions[SFT][:12]}, cannot be told"
    assert all(sight.retrain for sight in found.values()), "no step saw it, but nothing proves that any more"
    assert seen(chain, "b0001") == {}, "the dataset does not hold this one"


@pytest.mark.parametrize("lost", ["training_dataset", "base_model", SFT])
def test_a_lost_parent_lets_nobody_be_safe(chain: Chain, lost: str) -> None:
    row = questions(chain)[0].question_id
    strange = "b0001"
    shutil.rmtree(chain.directory(lost))
    assert seen(chain, row)[GRPO].how == "directly", "its own rows.json names it"
    assert seen(chain, strange)[GRPO].retrain, "nothing proves that it was not among them"


@pytest.mark.parametrize("source", [{"stage": GRPO}, {"stage": "base_model", "source": {"stage": SFT}}])
def test_a_base_model_that_was_trained_here_lets_nobody_be_safe(
    chain: Chain, capsys: pytest.CaptureFixture[str], source: dict[str, Any]
) -> None:
    strange = "b0001"
    assert seen(chain, strange) == {}
    base = chain.versions["base_model"] = checkpoint(chain, "base_model", {"source": source})
    trained(chain)
    found = {sight.checkpoint: sight for sight in sights(chain.store, strange)}
    assert {found[each].how for each in (base, chain.versions[SFT], chain.versions[GRPO])} == {"cannot be told"}
    assert "of this project" in found[base].why and f"base_model {base[:12]}" in found[chain.versions[SFT]].why
    assert told(capsys, chain, strange)[0] == 3
    code, rows = told(capsys, chain, chain.versions[GRPO])
    assert code == 3 and [each["stage"] for each in rows["chain"]] == [GRPO, SFT, "base_model"]
    assert "it was copied from a" in rows["chain"][-1]["problem"]


def test_who_does_not_name_a_parent_may_have_grown_from_anything(chain: Chain) -> None:
    old = chain.store.manifest("checkpoints", chain.versions[GRPO])
    parents = {"training_dataset": old.parents["training_dataset"]}
    made = chain.store.put_directory(
        "checkpoints", copy_of(chain, old, chain.store.root.parent / "copy"), parents=parents, producer=old.producer
    )
    sight = seen_of(chain, "b0001", made.version)
    assert sight.how == "cannot be told" and sight.why == "it does not say which sft_checkpoint it was made from"


def test_papers_of_two_stages_are_not_believed(chain: Chain) -> None:
    old = chain.store.manifest("checkpoints", chain.versions[GRPO])
    made = chain.store.put_directory(
        "checkpoints",
        copy_of(chain, old, chain.store.root.parent / "copy"),
        parents={},
        producer={"stage": "base_model"},
    )
    assert seen_of(chain, "b0001", made.version).how == "cannot be told"


def copy_of(chain: Chain, manifest: Manifest, to: Path) -> Path:
    """The files of a chain's checkpoint, without its manifest."""
    to.mkdir()
    for entry in manifest.files:
        shutil.copy(chain.store.path("checkpoints", manifest.version) / entry.path, to / entry.path)
    return to


def test_a_passport_of_format_1_does_not_say_which_rows(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    chain.versions[GRPO] = checkpoint(chain, GRPO, {"format": 1, "rows": None}, [["x"]])
    sight = seen_of(chain, questions(chain)[-1].question_id, chain.versions[GRPO])
    assert sight.how == "cannot be told" and "format 1" in sight.why
    code, found = told(capsys, chain, chain.versions[GRPO][:10])
    assert code == 3 and found["chain"][0]["rows"] is None and "format 1" in found["chain"][0]["problem"]


def seen_of(chain: Chain, name: str, version: str) -> Sight:
    return next(sight for sight in sights(chain.store, name) if sight.checkpoint == version)
