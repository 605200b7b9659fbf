"""Who the persons are: sentences of the tables, and of files that may be anything."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.simulator.world import OPPOSITE_TAGS
from personamem_pipeline.personas.seeds import LINE_LIMIT, draw_seeds
from personamem_pipeline.presets import SeedsConfig

CONFIG = SeedsConfig(training_persons=4, benchmark_persons=2)


def write(path: Path, lines: list[str]) -> SeedsConfig:
    path.write_text("\n".join(lines) + "\n")
    return CONFIG.model_copy(update={"file": str(path)})


def line(text: str) -> str:
    return json.dumps({"persona": text})


def test_sampled_seeds_are_the_same_every_time_and_belong_to_groups_that_agree() -> None:
    config = SeedsConfig(training_persons=200, benchmark_persons=100)
    rows = draw_seeds(config, 5).rows
    assert rows == draw_seeds(config, 5).rows
    assert rows != draw_seeds(config, 6).rows
    assert [row.person_id for row in rows[:1] + rows[-1:]] == ["t0000", "b0099"]
    assert {row.split for row in rows[:200]} == {"training"}
    for row in rows:
        groups = {tag for tag in OPPOSITE_TAGS if tag in row.persona.lower().strip(".").split()}
        assert len(groups) >= 2, row.persona
        assert not {"young", "retired"} <= groups
        assert not {"older", "student"} <= groups


def test_the_sentences_that_the_demo_was_tuned_on_stay_the_same() -> None:
    rows = draw_seeds(SeedsConfig(training_persons=3, benchmark_persons=2), 0).rows
    assert [row.persona for row in rows] == [
        "A middle-aged office worker and parent from the city.",
        "A middle-aged creative worker from the countryside.",
        "An older office worker and parent from the countryside.",
        "An older creative worker who is single from the coast.",
        "An older creative worker from the city.",
    ]
    assert rows[1].attributes == {"age": "middle-aged", "occupation": "creative worker", "location": "the countryside"}


def test_more_persons_do_not_change_the_ones_there_are() -> None:
    few = draw_seeds(CONFIG, 0).rows
    many = draw_seeds(SeedsConfig(training_persons=9, benchmark_persons=5), 0).rows
    assert {row.person_id: row for row in few}.items() <= {row.person_id: row for row in many}.items()


def test_a_file_is_drawn_from_by_seed_and_a_repeated_sentence_is_one_person(tmp_path: Path) -> None:
    lines = [line(f"Person {index}") for index in range(30)]
    config = write(
        tmp_path / "seeds.jsonl", [*lines, *(text.replace("P", "p").replace(" ", "  ") for text in lines), ""]
    )
    drawn = draw_seeds(config, 0)
    assert drawn == draw_seeds(config, 0)
    assert (drawn.lines, drawn.duplicates) == (60, 30)
    assert drawn.rows != draw_seeds(config, 1).rows
    assert len({row.persona.casefold() for row in drawn.rows}) == 6
    assert [row.person_id for row in drawn.rows] == ["t0000", "t0001", "t0002", "t0003", "b0000", "b0001"]
    assert all(row.attributes for row in drawn.rows), "hints for what the sentence leaves open"


@given(st.lists(st.sampled_from("abcdefghijklmnopABCDEFGHIJKLMNOP"), min_size=1, max_size=60), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_lines_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], shuffle: random.Random
) -> None:
    path = tmp_path_factory.mktemp("seeds") / "seeds.jsonl"
    distinct = len({text.casefold() for text in texts})
    config = write(path, [line(text) for text in texts])
    if distinct < 6:
        with pytest.raises(UserError, match=f"{distinct} different personas"):
            draw_seeds(config, 0)
        return
    drawn = draw_seeds(config, 0)
    assert drawn.duplicates == len(texts) - distinct
    shuffle.shuffle(texts)
    write(path, [line(text) for text in texts])
    assert draw_seeds(config, 0) == drawn


def test_every_sentence_has_the_same_chance(tmp_path: Path) -> None:
    config = write(tmp_path / "seeds.jsonl", [line(f"Person {index}") for index in range(12)])
    times = [0] * 12
    for seed in range(400):
        for row in draw_seeds(config, seed).rows:
            times[int(row.persona.split()[1])] += 1
    assert all(abs(count - 200) < 50 for count in times), times


def test_a_big_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    with path.open("w") as file:
        file.writelines(line(f"Person {index} " + "x" * 900) + "\n" for index in range(6000))  # 5.6 MB
    tracemalloc.start()
    drawn = draw_seeds(CONFIG.model_copy(update={"file": str(path)}), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (drawn.lines, drawn.duplicates) == (6000, 0)
    assert peak < 1_500_000


@pytest.mark.parametrize(
    "broken",
    [
        b'{"persona": "cut of',
        b'{"text": "no persona"}',
        b'{"persona": ""}',
        b'{"persona": " \\t "}',
        b'{"persona": 3}',
        b'{"persona": "half a character \\ud800"}',
        b'{"persona": "caf\xe9"}',
        b"[]",
        b"null",
        b"[" * 20_000,
        b'{"persona": "' + b"x" * LINE_LIMIT + b'"}',
        b'{"persona": "One"} {"persona": "Two"}',
        b"\x00\x01\x02",
    ],
    ids=range(13),
)
def test_a_broken_line_is_named(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(b"\n".join([line("One").encode(), line("Two").encode(), b"", broken, line("Three").encode()]))
    with pytest.raises(UserError) as raised:
        draw_seeds(CONFIG.model_copy(update={"file": str(path)}), 0)
    assert raised.value.where == f"{path}:4"
    assert "persona" in raised.value.expected
    assert raised.value.remedy
    assert len(str(raised.value)) < 1000


def test_a_line_of_a_megabyte_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(line("One").encode() + b"\n" + b"x" * 20_000_000)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"seeds\.jsonl:2: a line of more than 64 kB"):
        draw_seeds(CONFIG.model_copy(update={"file": str(path)}), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_windows_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(line(f"Person {index}").encode() for index in range(6)))
    drawn = draw_seeds(CONFIG.model_copy(update={"file": str(path)}), 0)
    assert {row.persona for row in drawn.rows} == {f"Person {index}" for index in range(6)}


def test_too_few_and_none(tmp_path: Path) -> None:
    config = write(tmp_path / "seeds.jsonl", [line(f"Person {index % 5}") for index in range(20)])
    with pytest.raises(UserError, match="5 different personas") as raised:
        draw_seeds(config, 0)
    assert "6" in raised.value.expected
    for missing in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            draw_seeds(CONFIG.model_copy(update={"file": str(missing)}), 0)
    write(tmp_path / "empty.jsonl", [""])
    with pytest.raises(UserError, match="0 different personas"):
        draw_seeds(CONFIG.model_copy(update={"file": str(tmp_path / "empty.jsonl")}), 0)
