"""What the operating system does not give, and a store that does not answer, are told apart from a broken link."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.cli import main
from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.passports.reading import readable
from personamem_pipeline.store import MANIFEST
from personamem_pipeline.store import ROWS as SHARD_ROWS
from tests.passports.chains import SEEDS_FILE, Chain, questions
from tests.passports.damages import FILES, WEIGHTS, failing_disk

GRPO, SFT = "grpo_checkpoint", "sft_checkpoint"
FAILING = "/proc/self/mem"
"""Opens, and answers every read with EIO."""


def test_the_path_is_told_also_where_the_system_tells_none() -> None:
    with pytest.raises(IntegrityError, match="/tmp: cannot be read: Is a directory"), readable("elsewhere"):
        Path("/tmp").read_bytes()
    with pytest.raises(IntegrityError, match="elsewhere: cannot be read: Input/output error"), readable("elsewhere"):
        Path(FAILING).read_bytes()
    with pytest.raises(ConnectionError), readable("elsewhere"):
        raise ConnectionRefusedError


def test_of_what_cannot_be_read_every_file_is_named_and_none_is_believed(chain: Chain) -> None:
    failing_disk(chain)
    (broken,) = chain.verify().of("BROKEN")
    assert broken.what == FILES and broken.found == f"{WEIGHTS}: cannot be read: Input/output error"
    rows = next(link for link in chain.verify().links if link.what == "rows are the dataset's")
    assert rows.about == chain.label(GRPO), "of a checkpoint that was not hashed to the end no paper is read"


def test_the_newest_is_not_chosen_past_what_cannot_be_read(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    path = chain.directory(SFT) / MANIFEST
    path.unlink()
    path.mkdir()
    store = ["--store", str(chain.store.root)]
    assert main(["verify", GRPO, *store]) == 2
    assert f"{path}: cannot be read: Is a directory" in capsys.readouterr().err
    assert main(["verify", chain.versions[GRPO], *store]) == 1
    assert "Is a directory" in capsys.readouterr().out
    assert main(["lineage", chain.versions[GRPO], *store, "--json"]) == 3
    assert "Is a directory" in json.loads(capsys.readouterr().out)["chain"][1]["problem"]


def test_a_shard_that_cannot_be_read_was_not_searched(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    path = chain.directory("histories", "00") / SHARD_ROWS
    path.unlink()
    path.symlink_to(FAILING)
    row = questions(chain)[0].question_id
    assert main(["lineage", row, "--store", str(chain.store.root), "--json"]) == 3
    assert "cannot be read" in json.loads(capsys.readouterr().out)["not_searched"][0]


def test_a_source_that_cannot_be_read_is_a_gap(chain: Chain) -> None:
    (chain.project / SEEDS_FILE).unlink()
    (chain.project / SEEDS_FILE).symlink_to(FAILING)
    (gap,) = chain.verify().of("gap")
    assert gap.what == f"source {SEEDS_FILE}" and "cannot be read: Input/output error" in gap.found


@pytest.mark.parametrize("command", ["verify", "lineage"])
def test_a_store_that_does_not_answer_is_no_broken_link(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
        "PERSONAMEM_S3_ENDPOINT": "http://127.0.0.1:9",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("personamem_pipeline.store.objects.ATTEMPTS", 2)
    assert main([command, f"s3://bucket-away/x/checkpoints/{'0' * 64}"]) == 4
    assert "does not answer" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "4 the store does not answer" in " ".join(capsys.readouterr().out.split())
