"""The dataset card says who wrote the rows and what they measure, and lets `datasets` read them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from personamem_pipeline.questions.gather import Gathered
from personamem_pipeline.store import Store
from tests.questions.dealt import deal, gathered, made_question, people, refused

LOAD = """
import sys
from datasets import get_dataset_config_names, load_dataset
directory, cache = sys.argv[1:]
for name, key in (("questions", "question_id"), ("histories", "person_id"), ("rejected", "row_id")):
    if name not in get_dataset_config_names(directory):
        continue
    print(name, *load_dataset(directory, name, cache_dir=cache, split="train")[key])
"""


def made(store: Store, **changes: object) -> tuple[Gathered, str]:
    histories, questions = people()
    questions[-1] = made_question("b0003", 6, certificate=refused("blind: 0.75"))
    result = gathered(store, "benchmark", deal(store, histories, questions, ["0", "1"]), **changes)
    return result, (store.path("benchmark", result.manifest.version) / "README.md").read_text()


def test_the_card_is_part_of_the_dataset_and_says_what_is_in_it(tmp_path: Path) -> None:
    result, card = made(Store(tmp_path))
    assert "README.md" in {file.path for file in result.manifest.files}, "its bytes are covered by the version"
    assert "27 questions about 4 simulated persons" in card
    assert "Author: `simulator/1`. Readers of the certificates: `other`, `simulator/1`." in card
    assert "| questions | q/1 | simulator/1 | - | 0 |" in card
    assert "| histories | h/1 | - | - | - |" in card
    assert "28 questions planned, 28 written, 27 admitted" in card
    assert "| certificates | 28 | 27 | 1 | 1 `blind` |" in card
    assert "| counted with `words` | 10 | 10 | 10 | 10 | 40 |" in card
    assert "| counted with gpt-4o's | 12 | 12 | 12 | 12 | 48 |" in card
    assert "| questions | 7,000 | 0 | 0 |" in card, "over both shards and splits"
    for finding in result.findings[1:]:
        assert f"- **{finding.name}**: holds" in card


def test_a_broken_promise_stands_on_the_card(tmp_path: Path) -> None:
    store = Store(tmp_path)
    histories, questions = people()
    result = gathered(store, "benchmark", deal(store, histories[:-1], questions))
    card = (store.path("benchmark", result.manifest.version) / "README.md").read_text()
    assert "- **whole evidence**: DOES NOT HOLD (questions 28, questions without evidence 7)" in card


def test_licence_and_warning_follow_the_author(tmp_path: Path) -> None:
    _, card = made(Store(tmp_path / "simulated"))
    assert "rule-based **simulator**" in card and "Apache-2.0" in card
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    store = Store(tmp_path / "model")
    histories, questions = people()
    questions = [question.model_copy(update={"author": "gpt-4o"}) for question in questions]
    result = gathered(store, "benchmark", deal(store, histories, questions))
    card = (store.path("benchmark", result.manifest.version) / "README.md").read_text()
    assert "simulator**" not in card and "Rows by `gpt-4o`: the terms of the endpoint" in card
    assert yaml.safe_load(card.split("---")[1])["license"] == "other"


@pytest.mark.parametrize("refusals", [True, False])
def test_datasets_reads_all_three_tables(tmp_path: Path, refusals: bool) -> None:
    store = Store(tmp_path / "store")
    histories, questions = people()
    questions[-1] = made_question("b0003", 6, certificate=refused("blind: 1") if refusals else None)
    result = gathered(store, "benchmark", deal(store, histories, questions))
    directory = store.path("benchmark", result.manifest.version)
    command = [sys.executable, "-c", LOAD, str(directory), str(tmp_path / "cache")]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HOME": str(tmp_path), "PATH": ""}
    read = subprocess.run(command, check=True, capture_output=True, text=True, env=offline).stdout.splitlines()
    named = {line.split()[0]: line.split()[1:] for line in read}
    assert named["histories"] == ["b0000", "b0001", "b0002", "b0003"]
    assert named.get("rejected") == (["b0003.p6.q0"] if refusals else None)
    assert len(named["questions"]) == 28 - refusals
