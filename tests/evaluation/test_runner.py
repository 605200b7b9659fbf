"""Asking a system: from the journal where it is answered, batch by batch, and on again after a stop or a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.journal import Journal
from personamem_pipeline.evaluation.records import Outputs, Reply, Role
from personamem_pipeline.evaluation.runner import Runner, Spent
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.presets import PricesConfig
from personamem_pipeline.progress import Interrupted, Progress


@dataclass
class Parrot:
    """Says the question's id; remembers which batches it was asked, and does something at one of them."""

    at: int = -1
    then: Callable[[], None] = lambda: None
    asked: list[int] = field(default_factory=list)
    name: str = "parrot"
    label: str = "parrot"
    role: Role = "control"

    def run(self, batch: Batch) -> Outputs:
        self.asked.append(batch.index)
        if batch.index == self.at:
            self.then()
        rows = [
            Reply(question_id=q.question_id, order=0, output=q.question_id, input_tokens=10, output_tokens=1)
            for q in batch.questions
        ]
        return Outputs(replies=tuple(rows), answer_seconds=0.5)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.of(tmp_path / "answers", "parrot", {"model": "one"})


def run(source: Source, journal: Journal, parrot: Parrot, runner: Runner | None = None) -> int:
    return (runner or Runner(source, Progress())).run("parrot", journal, lambda: parrot)


def test_everything_is_answered_once(source: Source, journal: Journal) -> None:
    parrot = Parrot()
    assert run(source, journal, parrot) == 8
    assert parrot.asked == [0, 1, 2]
    told = [reply.question_id for outputs in journal for reply in outputs.replies]
    assert told == [question.question_id for question in source.questions]

    def never() -> Parrot:
        raise AssertionError("loaded although everything is answered")

    assert Runner(source, Progress()).run("parrot", journal, never) == 0


def test_a_stop_keeps_what_was_answered(source: Source, journal: Journal) -> None:
    progress = Progress()
    with pytest.raises(Interrupted, match="3 of 8 people"):
        run(source, journal, Parrot(0, progress.stop), Runner(source, progress))
    again = Parrot()
    run(source, journal, again)
    assert again.asked == [1, 2]


def test_only_what_was_in_flight_is_repeated_after_a_kill(source: Source, journal: Journal, tmp_path: Path) -> None:
    unbroken = Journal.of(tmp_path / "other", "parrot", {"model": "one"})
    run(source, unbroken, Parrot())

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, journal, Parrot(1, die))
    with journal.path.open("ab") as file:
        file.write(b'{"batch": 1, "replies": [{"question_id"')  # what a kill within a write leaves
    assert journal.answered() == {0}
    again = Parrot()
    run(source, journal, again)
    assert again.asked == [1, 2]
    assert journal.path.read_bytes() == unbroken.path.read_bytes()


def test_two_evaluations_do_not_answer_the_same_at_once(source: Source, journal: Journal) -> None:
    with journal.writing(), pytest.raises(UserError, match="another evaluation"):
        run(source, journal, Parrot())


def test_a_damaged_line_is_told_and_not_skipped(source: Source, journal: Journal) -> None:
    run(source, journal, Parrot())
    lines = journal.path.read_text().splitlines()
    journal.path.write_text("\n".join([lines[0][:-9], *lines[1:]]) + "\n")
    with pytest.raises(UserError, match="cannot be read"):
        list(journal)
    journal.path.write_text("nonsense\n")
    with pytest.raises(UserError, match="line 1 cannot be read"):
        journal.answered()


def test_other_questions_have_another_journal(tmp_path: Path) -> None:
    one, other = (Journal.of(tmp_path, "parrot", {"model": name}) for name in ("one", "other"))
    assert one.path != other.path
    assert Journal.of(tmp_path, "parrot", {"model": "one"}) == one


def test_a_budget_stops_before_the_next_batch(source: Source, journal: Journal) -> None:
    spent = Spent(prices=PricesConfig(input=1.0, output=2.0), budget_tokens=130)
    with pytest.raises(UserError, match=r"used 132 tokens, \$0\.00, its budget is 130"):
        run(source, journal, Parrot(), Runner(source, Progress(), spent))
    assert journal.answered() == {0}
    assert spent.dollars == pytest.approx((120 * 1 + 12 * 2) / 1e6)


def test_answers_from_the_journal_cost_nothing(source: Source, journal: Journal) -> None:
    run(source, journal, Parrot())
    runner = Runner(source, Progress(), Spent(budget_tokens=1))
    assert run(source, journal, Parrot(), runner) == 0
    assert runner.spent.input_tokens == 0
