"""The dataset card says who wrote the rows, and lets `datasets` read them."""

from __future__ import annotations

from pathlib import Path

from datasets import load_dataset

from personamem_pipeline.questions.card import dataset_card
from personamem_pipeline.questions.gather import balance, funnel, read_questions
from personamem_pipeline.store import Store
from tests.questions.test_gather import gathered
from tests.rooms import rooms


def test_the_card_is_part_of_the_dataset_and_opens_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = gathered(store, "benchmark", ["0", "1"])
    directory = store.path("benchmark", made.manifest.version)
    card = (directory / "README.md").read_text()
    questions = read_questions(store, "benchmark", made.manifest.version)
    assert "README.md" in {file.path for file in made.manifest.files}, "its bytes are covered by the version"
    assert f"{len(questions)} questions" in card and f"admitted: {made.funnel['admitted']}" in card
    assert "Author: `simulator/1`" in card and "rule-based **simulator**" in card
    rows = load_dataset(str(directory), "questions", cache_dir=str(tmp_path / "cache"), split="train")
    assert rows["question_id"] == [question.question_id for question in questions]


def test_only_the_simulators_rows_carry_its_warning() -> None:
    questions = [question.model_copy(update={"author": "gpt-4o"}) for question in rooms().questions]
    card = dataset_card("benchmark", rooms().histories, questions, funnel(questions), balance(questions))
    assert "Author: `gpt-4o`" in card and "simulator**" not in card
