"""`personamem lineage`: rows of a checkpoint, and checkpoints of a row or a person."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.finding import FoundCheckpoint
from personamem_pipeline.passports.records import ROWS
from personamem_pipeline.passports.trace import Sight, rows_of, sights
from personamem_pipeline.store import ROWS as SHARD_ROWS
from tests.passports.chains import Chain, checkpoint, questions
from tests.passports.damages import flip

SFT, GRPO = "sft_checkpoint", "grpo_checkpoint"


def seen(chain: Chain, name: str) -> dict[str, Sight]:
    """What the chain's own checkpoints have to do with a row or person, by asset."""
    assets = {chain.versions[asset]: asset for asset in (SFT, GRPO)}
    return {assets[sight.checkpoint]: sight for sight in sights(chain.store, name)}


def told(capsys: pytest.CaptureFixture[str], chain: Chain, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["lineage", *arguments, "--store", str(chain.store.root), "--json"])
    return code, json.loads(capsys.readouterr().out)


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


def test_who_was_not_trained_on_has_nothing_to_do_with_any_checkpoint(
    whole: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = told(capsys, whole, "b0001")
    assert code == 0 and found["checkpoints"] == []
    assert {holder["asset"] for holder in found["data"]} >= {"persona_seeds", "personas", "histories", "benchmark"}


def test_what_cannot_be_told_counts_as_seen(chain: Chain) -> None:
    last = questions(chain)[-1].question_id
    flip(chain.directory(SFT) / ROWS)
    found = seen(chain, last)
    assert (found[SFT].how, found[GRPO].how) == ("cannot be told", "through a parent")
    assert all(sight.retrain for sight in found.values()), "no step saw it, but nothing proves that any more"
    assert seen(chain, "b0001") == {}, "the dataset does not hold this one"


@pytest.mark.parametrize("lost", ["training_dataset", SFT])
def test_a_lost_parent_lets_nobody_be_safe(chain: Chain, lost: str) -> None:
    row = questions(chain)[0].question_id
    strange = "b0001"
    shutil.rmtree(chain.directory(lost))
    assert seen(chain, row)[GRPO].how == "directly", "its own rows.json names it"
    assert seen(chain, strange)[GRPO].retrain, "nothing proves that it was not among them"


def test_a_passport_of_format_1_does_not_say_which_rows(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    chain.versions[GRPO] = checkpoint(chain, GRPO, {"format": 1, "rows": None}, [["x"]])
    sight = seen_of(chain, questions(chain)[-1].question_id, chain.versions[GRPO])
    assert sight.how == "cannot be told" and "format 1" in sight.why
    code, found = told(capsys, chain, chain.versions[GRPO][:10])
    assert code == 3 and found["chain"][0]["rows"] is None and "format 1" in found["chain"][0]["problem"]


def seen_of(chain: Chain, name: str, version: str) -> Sight:
    return next(sight for sight in sights(chain.store, name) if sight.checkpoint == version)


def test_the_command_names_who_wrote_a_row_and_what_to_train_again(
    whole: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    row = questions(whole)[0].question_id
    code, found = told(capsys, whole, row)
    assert code == 0 and [each["asset"] for each in found["behind"]] == [
        "persona_seeds", "personas", "conversations", "histories"
    ]  # fmt: skip
    assert {each["person"] for each in (*found["behind"], *found["data"])} == {row.partition(".")[0]}
    written = next(each["producer"] for each in found["data"] if each["asset"] == "questions")
    assert written["author"] == "simulator/1" and len(written["prompts"]) == 64 and written["seed"] == "0"
    assert [sight["retrain"] for sight in found["checkpoints"]] == [True, True]
    assert main(["lineage", row, "--store", str(whole.store.root)]) == 0
    out = capsys.readouterr().out
    assert "must be trained again without it: 2" in out and "directly" in out


def test_the_command_lists_the_rows_of_a_checkpoint(whole: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", SFT, "--store", str(whole.store.root), "--rows", "2"]) == 0
    out = capsys.readouterr().out
    assert f"sft_checkpoint {whole.versions[SFT][:12]}" in out and "more rows: --rows" in out
    code, found = told(capsys, whole, SFT)
    (own,) = found["chain"]
    assert code == 0 and own["steps"] == len(own["rows_per_step"]) == 15
    assert sum(own["rows_per_step"]) == sum(len(steps) for steps in own["rows"].values())


def test_a_broken_shard_is_named_as_not_searched(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    flip(chain.directory("conversations", "00") / SHARD_ROWS)
    code, found = told(capsys, chain, "t0001")
    assert code == 3 and found["not_searched"][0].startswith("conversations ")


def test_a_name_that_nobody_has(whole: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", "t9999", "--store", str(whole.store.root)]) == 2
    assert "no checkpoint, row or person of that name" in capsys.readouterr().err


def test_the_statement_is_about_verified_files_only(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("in_toto_attestation")
    store = ["--store", str(chain.store.root)]
    assert main(["lineage", GRPO, *store, "--statement"]) == 0
    statement = json.loads(capsys.readouterr().out)
    assert {subject["name"] for subject in statement["subject"]} == {PASSPORT, ROWS, "model.safetensors"}
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["predicate"]["runDetails"]["metadata"]["invocationId"] == "run-1"
    flip(chain.directory(GRPO) / PASSPORT)
    assert main(["lineage", GRPO, *store, "--statement"]) == 2
