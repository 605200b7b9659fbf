"""Which checkpoint a name means, and what is verified of one that lies outside the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.passports.making import attach_making
from personamem_pipeline.store import ATTACHED
from tests.passports.chains import SEEDS_FILE, Chain, checkpoint, making, questions
from tests.passports.damages import NAMED, WEIGHTS
from tests.passports.damaging import edit_manifest


def test_a_copied_directory_with_only_the_store_beside_it(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(chain.directory("grpo_checkpoint"), tmp_path / "elsewhere" / "my-model"))
    shutil.rmtree(chain.directory("grpo_checkpoint"))
    (chain.project / SEEDS_FILE).rename(chain.project / "away")

    def outcome(directory: Path) -> dict[str, Any]:
        code = main(["verify", str(directory), "--store", str(chain.store.root), "--json"])
        told = json.loads(capsys.readouterr().out)
        assert code == {"whole": 0, "broken": 1, "incomplete": 3}[told["outcome"]]
        return dict(told)

    told = outcome(copy)
    gaps = [link["what"] for link in told["links"] if link["status"] == "gap"]
    assert told["outcome"] == "incomplete" and gaps == ["is the version asked for", f"source {SEEDS_FILE}"]
    named = copy.rename(copy.with_name(told["checkpoint"]))
    gaps = [link["what"] for link in outcome(named)["links"] if link["status"] == "gap"]
    assert gaps == [f"source {SEEDS_FILE}"], "a directory's name says which version it should be"
    (named / WEIGHTS).write_bytes(b"other weights")
    assert "not the weights that were stored" in outcome(named)["first_break"]["means"]
    edit_manifest(named)
    assert outcome(named)["first_break"]["what"] == NAMED
    renamed = named.rename(copy)
    assert outcome(renamed)["first_break"]["what"].startswith("making "), "the making names another version"


def test_the_addresses_that_the_product_shows_are_understood(
    chain: Chain, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version, store = chain.versions["grpo_checkpoint"], str(chain.store.root)
    shown = chain.store.address("checkpoints", version)  # what assets.stages puts into Dagster's metadata
    (chain.directory("grpo_checkpoint") / ATTACHED / "makings" / ".writing-1").write_text("{")

    def whole(name: str, *arguments: str) -> bool:
        code = main(["verify", name, "--json", *arguments])
        told = json.loads(capsys.readouterr().out)
        gaps = [link["what"] for link in told["links"] if link["status"] == "gap"]
        return (
            code == 3 and gaps == [f"source {SEEDS_FILE}"] and told["checkpoint"] == version
        )  # it is not in our project

    assert whole(shown) and whole(f"{shown}/") and whole(shown, "--store", store)
    assert whole(f"checkpoints/{version}", "--store", store)
    assert whole(f"s3://elsewhere/lab/checkpoints/{version}", "--store", store), "the same one was copied to our store"
    assert main(["lineage", shown, "--json"]) == 0 and version in capsys.readouterr().out
    monkeypatch.chdir(chain.store.root)
    assert whole(f"checkpoints/{version}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONAMEM_STORE", store)
    assert whole(f"checkpoints/{version}")
    copied = shutil.copytree(shown, tmp_path / "downloads" / "checkpoints" / version)
    assert whole(str(copied)), "no store is guessed where nothing but checkpoints lies"
    assert main(["verify", f"checkpoints/{'0' * 64}"]) == 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("0000", "no such checkpoint"),
        ("t0001.p0.q0", "no such checkpoint"),
        ("empty/", "no checkpoint of this project"),
    ],
)
def test_what_is_no_checkpoint_is_bad_input(
    chain: Chain,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    problem: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["verify", name, "--store", str(chain.store.root)]) == 2
    assert problem in capsys.readouterr().err
    assert main(["verify", "grpo_checkpoint", "--store", str(tmp_path / "nowhere")]) == 2


def test_the_newest_is_the_one_that_was_finished_last(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    older = chain.versions["grpo_checkpoint"]
    chain.versions["grpo_checkpoint"] = newer = checkpoint(
        chain, "grpo_checkpoint", {}, [[questions(chain)[0].question_id]], weights=b"newer"
    )
    attach_making(chain.store, making(chain, "grpo_checkpoint", finished="2026-11-23T11:00:00Z"))

    def newest() -> str:
        main(["verify", "grpo_checkpoint", "--store", str(chain.store.root), "--json"])
        return str(json.loads(capsys.readouterr().out)["checkpoint"])

    assert newest() == newer
    chain.versions["grpo_checkpoint"] = older
    attach_making(chain.store, making(chain, "grpo_checkpoint", finished="2026-11-23T12:00:00Z"))
    assert newest() == older, "it was made again, with the same outcome"
