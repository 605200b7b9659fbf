"""Guessers look at options and nothing else; each is right exactly where its trick is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from personamem_pipeline.evaluation.asked import asked
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.guessers import Guesser, guessers
from personamem_pipeline.memory.prompts import parse_letter
from personamem_pipeline.questions.shape import guess_score, longest, plain_guess
from personamem_pipeline.records import Question


def by_name(questions: list[Question]) -> dict[str, Guesser]:
    return {guesser.name: guesser for guesser in guessers(questions)}


def picked(guesser: Guesser, batch: Batch) -> dict[tuple[str, int | None], str]:
    """(question, order) -> the text that was picked."""
    outputs = guesser.run(batch)
    options = {(item.question.question_id, item.order): item.options for item in asked(batch)}
    assert [(reply.question_id, reply.order) for reply in outputs.replies] == list(options)
    assert not any(reply.input_tokens or reply.output_tokens for reply in outputs.replies)
    return {
        (reply.question_id, reply.order): options[reply.question_id, reply.order or 0][parse_letter(reply.output) or ""]
        for reply in outputs.replies
    }


@pytest.fixture
def batch(source: Source) -> Batch:
    people = tuple(person for one in source.batches() for person in one.people)
    return Batch(0, people, 24, 0)


def written(batch: Batch, options: tuple[str, ...], **changes: object) -> Batch:
    """The batch with these options in every question."""
    update = {"correct_answer": options[0], "incorrect_answers": options[1:], **changes}
    people = [
        replace(person, questions=tuple(own.model_copy(update=update) for own in person.questions))
        for person in batch.people
    ]
    return replace(batch, people=tuple(people))


OPTIONS = ("Take a long slow train", "Take tea", "Take an old map home", "Take what suits you")


def test_length_and_specificity(batch: Batch) -> None:
    changed = written(batch, OPTIONS)
    found = by_name(changed.questions)
    assert set(picked(found["longest"], changed).values()) == {"Take a long slow train"}
    assert set(picked(found["shortest"], changed).values()) == {"Take tea"}
    assert set(picked(found["most_specific"], changed).values()) <= {"Take a long slow train", "Take an old map home"}


def test_chance_is_chance_for_options_and_letters(batch: Batch) -> None:
    changed = written(batch, OPTIONS)
    outputs = by_name(changed.questions)["chance"].run(changed)
    letters = Counter(parse_letter(reply.output) for reply in outputs.replies)
    count = len(outputs.replies)
    assert count == 32 * 24
    # Four standard deviations of a binomial share.
    assert all(abs(letters[letter] / count - 0.25) < 4 * (0.25 * 0.75 / count) ** 0.5 for letter in "abcd")


def test_a_tie_is_drawn_and_gives_what_the_trick_is_worth_on_average(batch: Batch) -> None:
    changed = written(batch, ("Take green tea", "Take black tea", "Take tea", "Take milk"))
    drawn = Counter(picked(by_name(changed.questions)["longest"], changed).values())
    assert set(drawn) == {"Take green tea", "Take black tea"}
    worth = guess_score(longest, changed.questions[0].options)
    assert drawn["Take green tea"] / drawn.total() == pytest.approx(worth, abs=4 * (0.25 / drawn.total()) ** 0.5)


def test_draws_are_the_same_again_and_others_under_another_seed(batch: Batch) -> None:
    chance = by_name(batch.questions)["chance"]
    assert chance.run(batch) == chance.run(batch)
    other = Batch(batch.index, batch.people, batch.orders, 1)
    assert picked(chance, batch) != picked(chance, other)


def test_the_plainest_option_is_the_one_that_fits_everybody(batch: Batch) -> None:
    # Tastes differ from question to question; what fits anybody stands in all of them.
    people = [
        replace(
            person,
            questions=tuple(
                own.model_copy(
                    update={"incorrect_answers": (*own.incorrect_answers[:2], "You could try whatever suits.")}
                )
                for own in person.questions
            ),
        )
        for person in batch.people
    ]
    changed = replace(batch, people=tuple(people))
    texts = picked(by_name(changed.questions)["plainest"], changed)
    assert set(texts.values()) == {"You could try whatever suits."}


def test_the_labelled_bound_scores_what_plain_guess_says(batch: Batch) -> None:
    texts = picked(by_name(batch.questions)["labelled_generic"], batch)
    for question in batch.questions:
        own = [text for (question_id, _), text in texts.items() if question_id == question.question_id]
        assert sum(text == question.correct_answer for text in own) / len(own) == plain_guess(question.incorrect_kinds)


def test_where_the_plain_answer_is_right_and_another_is_plain_too_either_is_drawn(batch: Batch) -> None:
    changed = written(batch, OPTIONS, incorrect_kinds=("others", "other", "generic"))
    drawn = Counter(picked(by_name(changed.questions)["labelled_generic"], changed).values())
    assert set(drawn) == {OPTIONS[0], OPTIONS[3]}


def test_without_labels_there_is_no_bound(batch: Batch) -> None:
    changed = written(batch, OPTIONS, incorrect_kinds=("leak", "wrong", "helpless"))
    assert "labelled_generic" not in by_name(changed.questions)
    assert list(by_name(changed.questions)) == [
        "chance", "longest", "shortest", "odd_one_out", "most_alike", "most_specific", "plainest",
    ]  # fmt: skip


def test_queries_and_labels_of_the_person_change_no_guess(batch: Batch) -> None:
    batch = replace(batch, orders=2)
    blind = {"user_query": "", "preference": "", "topic": "", "evidence": ()}
    people = [
        replace(person, questions=tuple(own.model_copy(update=blind) for own in person.questions))
        for person in batch.people
    ]
    for guesser in guessers(batch.questions):
        assert guesser.run(batch) == guesser.run(replace(batch, people=tuple(people)))
