"""How long systems took: noted per reply, kept with the answers, shown beside a report and never in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.evaluation.journal import Journal
from personamem_pipeline.evaluation.records import Outputs
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.systems.base import Named
from personamem_pipeline.evaluation.systems.memory import MemorySystem
from personamem_pipeline.evaluation.systems.timed import Timed
from personamem_pipeline.evaluation.timings import DATA, PAGE, files, markdown, metrics, seconds, timings
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import MemoryConfig
from tests.evaluation.conftest import reader
from tests.evaluation.report.test_page import Reader


class Telling(ScriptedGenerator):
    """An engine that tells of each reply how long its batch took."""

    def generate(self, prompts: Sequence[str], **how: Any) -> list[Generation]:
        return [replace(reply, seconds=float(at)) for at, reply in enumerate(super().generate(prompts, **how))]


def test_an_engine_that_tells_is_believed_and_any_other_is_timed() -> None:
    telling, silent = Timed(Telling(str.upper)), Timed(ScriptedGenerator(str.upper))
    for timed in (telling, silent):
        assert [reply.text for reply in timed.generate(["a", "b"], max_tokens=5)] == ["A", "B"]
    assert telling.taken() == (0.0, 1.0) and telling.taken() == ()
    first, second = silent.taken()
    assert first == second >= 0


def test_seconds_do_not_make_two_replies_different() -> None:
    reply = Generation((1,), (2,), "a", True)
    assert replace(reply, seconds=3.0) == reply


def test_writing_and_answering_are_told_apart(source: Source, memory: MemoryConfig) -> None:
    batch = next(source.batches())
    system = MemorySystem(Named("m", "m", "model", open=True), Timed(Telling(reader(0.9))), memory)
    outputs = system.run(batch)
    assert len(outputs.write_waits) == len(outputs.steps) > 0
    assert len(outputs.answer_waits) == len(outputs.replies)
    assert set(outputs.answer_waits) == set(map(float, range(len(outputs.replies)))), "one call"
    assert max(outputs.write_waits) == len(batch.people) - 1
    untimed = MemorySystem(system.named, Telling(reader(0.9)), memory).run(batch)
    assert untimed.steps == outputs.steps and untimed.write_waits == untimed.answer_waits == ()


@pytest.fixture
def journals(tmp_path: Path) -> dict[str, Journal]:
    """A system that writes and answers in two batches, one that only answers, and one that asks no model."""
    made = {name: Journal.of(tmp_path, name, {}) for name in ("writes", "answers", "guesses")}
    for index, waits in enumerate(((1.0, 2.0), (3.0, 40.0))):
        outputs = Outputs(replies=(), write_seconds=0.5, answer_seconds=3.0, write_waits=(0.25,), answer_waits=waits)
        made["writes"].append(index, outputs)
        made["answers"].append(index, Outputs(replies=(), write_seconds=9.0, answer_seconds=1.0, answer_waits=(1.0,)))
        made["guesses"].append(index, Outputs(replies=()))
    return made


LABELS = {"writes": "after <b>GRPO</b> | b", "answers": "whole chat", "guesses": "chance"}


def test_medians_and_percentiles_are_over_replies_of_all_batches(journals: dict[str, Journal]) -> None:
    writes, answers = timings(journals, LABELS)
    assert (writes.system, answers.system) == ("writes", "answers")
    assert writes.write is not None and writes.answer is not None and answers.write is None
    assert (writes.write.count, writes.write.each, writes.write.median) == (2, 0.5, 0.25)
    assert (writes.answer.each, writes.answer.median, writes.answer.p95) == (1.5, 2.0, 40.0)
    figures = metrics([writes, answers])
    assert figures["seconds_answer_p95_writes"] == 40.0
    assert len(figures) == 9


def test_they_are_shown_as_table_page_and_data(journals: dict[str, Journal]) -> None:
    rows = timings(journals, LABELS)
    assert markdown(rows).splitlines()[2] == (
        "| after &lt;b>GRPO&lt;/b> \\| b | write turn | 2 | 0.5000 | 0.2500 | 0.2500 |"
    )
    written = files(rows)
    assert [row["answer"]["p95"] for row in json.loads(written[DATA])] == [40.0, 1.0]
    page = written[PAGE].decode()
    assert "after &lt;b&gt;GRPO" in page and "40.0" in page
    assert not any(text in page for text in ("src=", "href=", "url(", "<script"))
    assert "No system asked a model" in " ".join(Reader(files([])[PAGE].decode()).text)


def test_seconds_keep_three_figures() -> None:
    assert [seconds(value) for value in (0.00021, 0.25, 1.234, 40.04)] == ["0.0002", "0.2500", "1.23", "40.0"]
