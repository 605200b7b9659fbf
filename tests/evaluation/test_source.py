"""People in fixed batches, and what is asked of them when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import source as source_module
from personamem_pipeline.evaluation.asked import ask, asked, before_request, evidence_distances, forgotten_option, pairs
from personamem_pipeline.evaluation.source import Person, Source
from personamem_pipeline.records import History
from tests.evaluation.conftest import person, source_of


@given(count=st.integers(1, 40), size=st.integers(2, 12))
def test_everybody_is_in_one_batch_and_nobody_is_alone(count: int, size: int) -> None:
    source = source_of([person(index) for index in range(count)], people_per_batch=size)
    batches = list(source.batches())
    assert [one.person_id for batch in batches for one in batch.people] == sorted(source.by_person)
    assert tuple(len(batch.people) for batch in batches) == source.batch_sizes
    assert all(len(batch.people) > 1 for batch in batches) or count == 1
    assert max(source.batch_sizes) <= size + 1


def counted(source: Source) -> tuple[Source, list[int]]:
    """The same source, and a list that grows with every pass over its histories."""
    passes: list[int] = []

    def histories() -> Iterable[History]:
        passes.append(1)
        return source.histories()

    return replace(source, histories=histories), passes


@pytest.mark.parametrize(("kept", "passes_of_three"), [(10_000, 1), (100, 3)])
def test_short_histories_are_read_once_and_long_ones_in_every_pass(
    source: Source, kept: int, passes_of_three: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "KEPT", kept)
    once, passes = counted(source)
    first, second, third = ([batch.people for batch in once.batches()] for _ in range(3))
    assert [len(people) for people in first] == [3, 3, 2]
    assert first == second == third
    assert len(passes) == passes_of_three


def test_a_pass_that_was_broken_off_is_not_everybody(source: Source) -> None:
    once, passes = counted(source)
    next(once.batches())
    assert len(list(once.people())) == len(list(once.people())) == 8
    assert len(passes) == 2


def test_letters_are_drawn_once_for_all_systems(source: Source) -> None:
    question = source.questions[0]
    first, again = ask(question, 0, 1), ask(question, 0, 1)
    assert first.options is again.options
    with pytest.raises(TypeError):
        first.options["a"] = "changed for everybody"  # type: ignore[index]
    reworded = question.model_copy(update={"correct_answer": "You could try something else."})
    assert ask(reworded, 0, 1).options != first.options


def test_a_question_without_a_history_is_refused() -> None:
    people = [person(0), person(1)]
    orphan = (people[1][0], [*people[1][1], *person(2)[1]])
    with pytest.raises(UserError, match=r"1 people are asked about and have no history, the first is b002"):
        list(source_of([people[0], orphan]).batches())


def test_nobody_to_ask_is_refused() -> None:
    with pytest.raises(UserError, match="no admitted question"):
        source_of([])


def test_the_same_is_asked_of_every_system(source: Source) -> None:
    batch = next(source.batches())
    items = asked(batch)
    assert len(items) == 3 * 4 * 2
    assert [(i.question.question_id, i.order, i.right) for i in items] == [
        (i.question.question_id, i.order, i.right) for i in asked(batch)
    ]


def test_before_a_request_to_forget_using_it_is_right(source: Source) -> None:
    batch = next(source.batches())
    found = list(pairs(batch.people))
    assert [question.question_id for question, _ in found] == ["b000.q3", "b001.q3", "b002.q3"]
    question, before = found[0]
    assert len(before) == 8 and "forget" not in before[-2].content
    then, now = ask(question, 0, 1, "before_forget"), ask(question, 0, 1)
    assert then.options == now.options
    assert then.options[then.right] == forgotten_option(question) != now.options[now.right] == question.correct_answer


def test_what_cannot_be_asked_before_is_not(source: Source) -> None:
    one = next(source.people())
    unlabelled = one.questions[3].model_copy(update={"incorrect_kinds": ("other", "other", "other")})
    assert before_request(one.history, unlabelled) is None, "the data do not say which option is the forgotten one"
    only_request = one.questions[3].model_copy(update={"evidence": (one.questions[3].evidence[1],)})
    assert before_request(one.history, only_request) is None, "nothing was said before"
    assert before_request(one.history, one.questions[0]) is None


def test_distance_counts_messages_after_the_last_evidence(source: Source) -> None:
    one = next(source.people())
    assert evidence_distances(one) == {"b000.q0": 9, "b000.q1": 7, "b000.q2": 5, "b000.q3": 1}
    unlocated = one.questions[0].model_copy(update={"evidence": ()})
    assert evidence_distances(Person(one.history, (unlocated,), "")) == {"b000.q0": -1}
