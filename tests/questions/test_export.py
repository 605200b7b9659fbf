"""Our datasets in the released layout, read back by our reader of the released files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.conversations.counting import count_gpt4o
from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.export import PERSONS, export_released
from personamem_pipeline.questions.released import read_history
from personamem_pipeline.questions.released_csv import ReleasedCsv
from personamem_pipeline.questions.released_inspect import inspect_released
from personamem_pipeline.questions.released_records import (
    released_histories,
    released_personas,
    released_questions,
    released_seeds,
)
from personamem_pipeline.records import History, Persona, Question
from tests.questions.released_files import small
from tests.rooms import rooms


def as_config(target: Path, size: str = "32k") -> ReleasedConfig:
    return ReleasedConfig.model_validate(
        {"root": str(target), "training": ["benchmark/text/train.csv"], "benchmark": "benchmark/text/benchmark.csv",
         "size": size}
    )  # fmt: skip


def asks(question: Question) -> dict[str, object]:
    """What a question says, without ids and certificate."""
    own = {
        "question_id",
        "person_id",
        "incorrect_kinds",
        "preference_id",
        "wording",
        "evidence",
        "author",
        "certificate",
    }
    return question.model_dump(exclude=own)


def evidence(question: Question, history: History) -> list[tuple[int, str]]:
    """(place, content) of the evidence."""
    return [
        (place, message.content)
        for place, message in enumerate(history.messages)
        if message.turn_id in question.evidence
    ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = rooms()
    report = export_released(made.histories, made.questions, made.personas, tmp_path / "out", size="32k")
    assert report.rejections == () and sum(report.rows.values()) == len(made.questions)
    config = as_config(tmp_path / "out")
    ids = [seed.person_id for seed in released_seeds(config)]
    questions, rejected = released_questions(config, ids)
    assert rejected == [] and len(questions) == len(made.questions)
    histories = {history.person_id: history for history in released_histories(config, ids)}
    names = json.loads((tmp_path / "out" / PERSONS).read_text())
    ours = {history.person_id: history for history in made.histories}
    by_id = {question.question_id: question for question in made.questions}
    for number, entry in names.items():
        own = [question for question in questions if question.person_id == f"p{int(number):04d}"]
        then, now = ours[entry["person_id"]], histories[f"p{int(number):04d}"]
        assert [(m.role, m.content) for m in now.messages] == [(m.role, m.content) for m in then.messages]
        assert now.split == entry["split"] == then.split
        for question, question_id in zip(own, entry["questions"], strict=True):
            assert asks(question) == asks(by_id[question_id])
            assert evidence(question, now) == evidence(by_id[question_id], then)
    personas, _ = released_personas(config, ids)
    known = {persona.person_id: persona for persona in made.personas}
    for persona in personas:
        original = known[names[str(int(persona.person_id[1:]))]["person_id"]]
        assert (persona.name, persona.profile) == (original.name, original.profile)
        assert persona.seed_persona == original.seed_persona


def test_our_own_export_is_sound(tmp_path: Path) -> None:
    made = rooms()
    export_released(made.histories, made.questions, made.personas, tmp_path / "out", size="32k")
    report = inspect_released(as_config(tmp_path / "out"))
    assert {flaw.kind for flaw in report.flaws} <= {"duplicate_persona", "length_giveaway"}
    assert report.evidence["none"] == report.evidence["partial"] == 0


@pytest.mark.parametrize("size", ["32k", "128k"])
def test_the_counts_are_gpt4os_and_those_of_the_other_size_are_empty(tmp_path: Path, size: str) -> None:
    made, other = rooms(), "128k" if size == "32k" else "32k"
    export_released(made.histories, made.questions, made.personas, tmp_path / "out", size=size)  # type: ignore[arg-type]
    read = next(iter(ReleasedCsv(tmp_path / "out/benchmark/text/benchmark.csv")))
    assert read.row is not None and read.row.spelling == {}
    row = read.row.to_json()
    assert {row[name] for name in row if other in name} == {None}
    path = tmp_path / "out" / row[f"chat_history_{size}_link"]
    history = read_history(path, keep_profile=True)
    lengths = count_gpt4o([message.content for message in history.messages])
    assert sum(lengths) == row[f"total_tokens_in_chat_history_{size}"] == history.metadata["final_token_count"]
    assert history.metadata["total_messages"] == len(history.messages)
    start = [message.content for message in history.messages].index(read.row.turns[0][1])
    assert row[f"distance_from_related_snippet_to_query_{size}"] == sum(lengths[start:])
    assert ("num_relevant_tokens" in history.metadata) is (size == "128k")


def test_the_raw_file_has_the_whole_person(tmp_path: Path) -> None:
    made = rooms()
    export_released(made.histories, made.questions, made.personas, tmp_path / "out", size="32k")
    for number, entry in json.loads((tmp_path / "out" / PERSONS).read_text()).items():
        raw = json.loads((tmp_path / f"out/data/raw_data/raw_data_pipeline_persona{number}.json").read_text())
        person = raw[entry["person_id"]]
        elements = [element for own in person["conversations"].values() for element in own]
        assert sum("user_query" in element for element in elements) == len(entry["questions"])
        public = list(person)[: list(person).index("stereotypical_preferences")]
        assert "name" in public and "sensitive_information" not in public
        assert all(element["prev_pref"] for element in elements if element["updated"])


def test_what_has_no_evidence_is_left_out_and_told(tmp_path: Path) -> None:
    made = rooms()
    astray = made.questions[0].model_copy(update={"evidence": ("elsewhere",)})
    stranger = made.questions[1].model_copy(update={"person_id": "nobody"})
    report = export_released(
        made.histories, [astray, stranger, *made.questions[2:]], made.personas, tmp_path / "out", size="32k"
    )
    assert {r.reason.partition(":")[0] for r in report.rejections} == {"no_evidence", "missing_history"}
    assert sum(report.rows.values()) + len(report.rejections) == len(made.questions)


def test_the_same_dataset_gives_the_same_bytes(tmp_path: Path) -> None:
    made = rooms()
    for name, histories in (("one", made.histories), ("two", made.histories[::-1])):
        export_released(histories, made.questions[::-1], made.personas, tmp_path / name, size="32k")
    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert len(files) == 2 * len(made.histories) + 3
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_nothing_is_overwritten_and_nothing_half_written_is_left(tmp_path: Path) -> None:
    made = rooms()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(UserError, match="something already"):
        export_released(made.histories, made.questions, made.personas, tmp_path / "full", size="32k")
    with pytest.raises(UserError, match="no person for the history"):
        export_released(made.histories, made.questions, made.personas[1:], tmp_path / "new", size="32k")
    (tmp_path / "empty").mkdir()
    export_released(made.histories[:1], [], made.personas, tmp_path / "empty", size="32k")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]


def test_released_persons_keep_their_numbers(tmp_path: Path) -> None:
    config = small(tmp_path / "in")
    ids = [seed.person_id for seed in released_seeds(config)]
    personas: list[Persona] = released_personas(config, ids)[0]
    questions = released_questions(config, ids)[0]
    report = export_released(released_histories(config, ids, profile_message=True), questions, personas,
                             tmp_path / "out", size="32k")  # fmt: skip
    assert report.rejections == ()
    again, rejected = released_questions(as_config(tmp_path / "out"), ids)
    assert rejected == [] and [asks(q) for q in again] == [asks(q) for q in questions]
    assert [q.evidence for q in again] == [q.evidence for q in questions]
