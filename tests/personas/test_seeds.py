"""Who the persons are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.simulator.world import OPPOSITE_TAGS
from personamem_pipeline.personas.seeds import make_seeds, read_seeds, sample_seeds
from personamem_pipeline.presets import SeedsConfig

CONFIG = SeedsConfig(training_persons=4, benchmark_persons=2)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def line(text: str) -> str:
    return json.dumps({"persona": text})


def test_sampled_seeds_are_the_same_every_time_and_belong_to_groups_that_agree() -> None:
    rows = sample_seeds(SeedsConfig(training_persons=200, benchmark_persons=100), 5)
    assert rows == sample_seeds(SeedsConfig(training_persons=200, benchmark_persons=100), 5)
    assert rows != sample_seeds(SeedsConfig(training_persons=200, benchmark_persons=100), 6)
    assert [row.person_id for row in rows[:1] + rows[-1:]] == ["t0000", "b0099"]
    assert {row.split for row in rows[:200]} == {"training"}
    for row in rows:
        groups = {tag for tag in OPPOSITE_TAGS if tag in row.persona.lower().strip(".").split()}
        assert len(groups) >= 2, row.persona
        assert not {"young", "retired"} <= groups
        assert not {"older", "student"} <= groups


def test_more_persons_do_not_change_the_ones_there_are() -> None:
    few = sample_seeds(CONFIG, 0)
    many = sample_seeds(SeedsConfig(training_persons=9, benchmark_persons=5), 0)
    assert set(few) <= set(many)


def test_a_file_is_drawn_from_by_seed_and_a_repeated_sentence_is_one_person(tmp_path: Path) -> None:
    path = write(tmp_path / "seeds.jsonl", [line(f"Person {index}") for index in range(30)] * 2 + [""])
    config = CONFIG.model_copy(update={"file": str(path)})
    rows = make_seeds(config, 0)
    assert rows == make_seeds(config, 0)
    assert rows != make_seeds(config, 1)
    assert len({row.persona for row in rows}) == 6
    assert [row.person_id for row in rows] == ["t0000", "t0001", "t0002", "t0003", "b0000", "b0001"]


@pytest.mark.parametrize(
    "broken", ['{"persona": "cut of', '{"text": "no persona"}', '{"persona": ""}', '{"persona": 3}', "[]", "null"]
)
def test_a_broken_line_is_named(tmp_path: Path, broken: str) -> None:
    path = write(tmp_path / "seeds.jsonl", [line("One"), line("Two"), broken, line("Three")])
    with pytest.raises(UserError) as raised:
        read_seeds(path, CONFIG, 0)
    assert raised.value.where == f"{path}:3"
    assert "persona" in raised.value.expected
    assert raised.value.remedy


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(line("One").encode() + b"\n" + b'{"persona": "caf\xe9"}\n')
    with pytest.raises(UserError, match=r"seeds\.jsonl:2"):
        read_seeds(path, CONFIG, 0)


def test_too_few_and_none(tmp_path: Path) -> None:
    path = write(tmp_path / "seeds.jsonl", [line(f"Person {index % 5}") for index in range(20)])
    with pytest.raises(UserError, match="5 different personas") as raised:
        read_seeds(path, CONFIG, 0)
    assert "6" in raised.value.expected
    with pytest.raises(UserError, match="cannot be read"):
        read_seeds(tmp_path / "missing.jsonl", CONFIG, 0)
