"""`personamem lineage` as people and programs see it, and its exit codes: what is not known is never 0."""

from __future__ import annotations

import json
import shutil

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.lineage import GRAPH, PASSPORT
from personamem_pipeline.passports.records import ROWS
from personamem_pipeline.store import ROWS as SHARD_ROWS
from tests.passports.chains import Chain, questions
from tests.passports.command import told
from tests.passports.damaging import flip

SFT, GRPO = "sft_checkpoint", "grpo_checkpoint"


def test_who_was_not_trained_on_has_nothing_to_do_with_any_checkpoint(
    whole: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = told(capsys, whole, "b0001")
    assert code == 0 and found["checkpoints"] == []
    assert {holder["asset"] for holder in found["data"]} >= {"persona_seeds", "personas", "histories", "benchmark"}


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
    assert "who wrote training_dataset" in out and "simulator/1" in out
    code, found = told(capsys, whole, SFT)
    (written,) = found["datasets"]
    assert written["dataset"] == found["chain"][0]["dataset"] == whole.versions["training_dataset"]
    by_stage = {author["stage"]: author for author in written["authors"]}
    assert by_stage["questions"]["author"] == "simulator/1" and len(by_stage["questions"]["prompts"]) == 64
    assert by_stage["persona_seeds"]["seed"] == "0" and len(by_stage["histories"]["shards"]) == 2
    (own,) = found["chain"]
    assert code == 0 and own["steps"] == len(own["rows_per_step"]) == 15
    assert sum(own["rows_per_step"]) == sum(len(steps) for steps in own["rows"].values())


def test_a_broken_shard_is_named_as_not_searched(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    flip(chain.directory("conversations", "00") / SHARD_ROWS)
    code, found = told(capsys, chain, "t0001")
    assert code == 3 and found["not_searched"][0].startswith("conversations ")


def test_what_cannot_be_told_has_the_exit_code_that_is_promised(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in (SFT, GRPO):
        flip(chain.directory(stage) / ROWS)
    code, found = told(capsys, chain, "t0000")
    assert code == 3 and {sight["how"] for sight in found["checkpoints"]} == {"cannot be told"}
    for kind in {node.kind for node in GRAPH.values()} - {"checkpoints"}:
        shutil.rmtree(chain.store.root / kind, ignore_errors=True)
    code, found = told(capsys, chain, "t0000")
    assert code == 3 and found["searched"] == 0 and all(sight["retrain"] for sight in found["checkpoints"])
    assert main(["lineage", "t0000", "--store", str(chain.store.root)]) == 3
    out = capsys.readouterr().out
    assert "no dataset or shard could be searched" in out and "must be trained again without it: 2" in out


def test_a_name_is_unknown_only_where_everything_was_searched(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    flip(chain.directory("conversations", "00") / SHARD_ROWS)
    code, found = told(capsys, chain, "t9999")
    assert code == 3 and not found["data"] and found["checkpoints"] == [] and len(found["not_searched"]) == 1
    assert main(["lineage", "t9999", "--store", str(chain.store.root)]) == 3
    assert f"in none of the {found['searched']} datasets and shards" in capsys.readouterr().out


def test_a_row_whose_shards_are_gone_is_traced_all_the_same(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(chain.store.root / "persona_seeds")
    row = questions(chain)[0].question_id
    code, found = told(capsys, chain, row)
    assert code == 3 and [sight["how"] for sight in found["checkpoints"]] == ["directly", "directly"]
    assert [line.split()[0] for line in found["not_searched"]] == ["persona_seeds"]
    assert [each["asset"] for each in found["behind"]] == ["personas", "conversations", "histories"]


def test_a_checkpoint_whose_parent_is_gone_shows_the_rest(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(chain.directory(SFT))
    code, found = told(capsys, chain, GRPO)
    assert code == 3 and [each["stage"] for each in found["chain"]] == [GRPO, SFT]
    assert found["chain"][0]["rows"] and "no manifest" in found["chain"][1]["problem"]


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
