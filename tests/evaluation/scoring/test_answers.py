from __future__ import annotations

from dataclasses import replace

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.records import Reply
from personamem_pipeline.evaluation.scoring.answers import AnswerKey, answer_key, answers, leaks, open_answers, spoken
from personamem_pipeline.evaluation.source import Source


@pytest.fixture
def key(source: Source) -> AnswerKey:
    return answer_key(source)


def replies(key: AnswerKey, output: str = r"\boxed{a}") -> list[Reply]:
    return [
        Reply(question_id=question, order=order, moment=moment, output=output) for question, order, moment in key.asked
    ]


def test_every_answer_carries_its_labels_in_the_order_of_the_questions(source: Source, key: AnswerKey) -> None:
    found = answers("s", key, reversed(replies(key)))
    ends = [row for row in found if row.moment == "end"]
    assert [(row.question_id, row.order) for row in ends] == [
        (q.question_id, o) for q in source.questions for o in (0, 1)
    ]
    for question, row in zip(source.questions, ends[::2], strict=True):
        assert (row.pref_type, row.wording, row.updated) == (question.pref_type, question.wording, question.updated)
    # By hand: ten messages, the first topic is told in message 0, the last forgotten in message 8.
    assert [row.distance for row in ends[:8:2]] == [9, 7, 5, 1]


def test_right_options_change_their_letters_with_the_order_and_their_meaning_with_the_moment(key: AnswerKey) -> None:
    found = answers("s", key, replies(key))
    forget = {(row.order, row.moment): row for row in found if row.question_id == "b000.q3"}
    assert set(forget) == {(order, moment) for order in (0, 1) for moment in ("end", "before_forget")}
    assert len({row.right for row in forget.values()}) > 2
    for (order, moment), row in forget.items():
        options = key.asked["b000.q3", order, moment].options
        assert options[row.right] == ("You could try something new." if moment == "end" else "You could try green tea.")


def test_using_what_was_to_be_forgotten_leaks_only_after_the_request(key: AnswerKey) -> None:
    rows = {row.moment: row for row in answers("s", key, replies(key, "You could try green tea."))
            if (row.question_id, row.order) == ("b000.q3", 0)}  # fmt: skip
    assert rows["end"].leaks and not rows["end"].correct
    assert rows["before_forget"].correct and not rows["before_forget"].leaks


def test_leaks_by_the_kind_of_the_option(source: Source) -> None:
    question = source.questions[0].model_copy(
        update={"pref_type": "sensitive_info", "incorrect_kinds": ("leak", "wrong", "helpless")}
    )
    assert [leaks(question, text) for text in question.options] == [False, True, False, False]
    elsewhere = question.model_copy(update={"incorrect_kinds": ("forgotten", "other", "other")})
    assert not any(leaks(elsewhere, text) for text in elsewhere.options)


def test_what_was_never_asked_of_a_model_is_wrong_and_says_why(key: AnswerKey) -> None:
    given = [row.model_copy(update={"output": "", "problem": "over_long", "finished": False}) for row in replies(key)]
    found = answers("s", key, given)
    assert {(row.picked, row.correct, row.correct_leniently, row.problem) for row in found} == {
        (None, False, False, "over_long")
    }


def test_missing_twice_and_unknown_replies_are_named(key: AnswerKey) -> None:
    given = replies(key)
    with pytest.raises(
        UserError, match=r"system s: question b000.q0 in option order 0 has no reply \(the first of 2\)"
    ):
        answers("s", key, given[2:])
    with pytest.raises(UserError, match=r"b000.q1 in option order 0 has two replies"):
        answers("s", key, [*given, given[2]])
    with pytest.raises(UserError, match=r"b000.q0 in option order 7 is not asked"):
        answers("s", key, [*given, given[0].model_copy(update={"order": 7})])
    with pytest.raises(UserError, match=r"b000.q0 in option order 0 before the request to forget is not asked"):
        answers("s", key, [*given, given[0].model_copy(update={"moment": "before_forget"})])


def test_answers_before_a_request_may_be_fewer(key: AnswerKey) -> None:
    found = answers("s", key, [row for row in replies(key) if row.moment == "end"])
    assert len(found) == 8 * 4 * 2


def test_open_answers_are_what_the_user_would_read(source: Source, key: AnswerKey) -> None:
    given = [
        Reply(question_id=question.question_id, order=None, output="<think>hm</think>- drinks: tea\nTake tea.")
        for question in source.questions
    ]
    found = open_answers("s", key, [*replies(key), *given])
    assert {(row.answer, row.score, row.judgements) for row in found} == {("Take tea.", None, ())}
    assert [row.question_id for row in found] == [question.question_id for question in source.questions]
    assert open_answers("s", key, given, quotes_first=False)[0].answer == "- drinks: tea\nTake tea."
    assert open_answers("s", key, replies(key)) == []
    with pytest.raises(UserError, match=r"b000.q0 has no open reply"):
        open_answers("s", key, given[1:])
    with pytest.raises(UserError, match=r"b000.q0 has two open replies"):
        open_answers("s", key, [given[0], *given])


def test_the_key_is_the_same_whoever_makes_it(source: Source, key: AnswerKey) -> None:
    assert answer_key(replace(source, people_per_batch=8)) == key
    assert answer_key(replace(source, seed=1)).asked != key.asked


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("- drinks: tea\nTry some tea.", "Try some tea."),
        ("none\nHow about a walk?", "How about a walk?"),
        ('"likes tea"\nTry some tea.', "Try some tea."),
        ("You could drink tea in the garden.", "You could drink tea in the garden."),
        ("Tea, of course.\n\nWith some milk.", "Tea, of course.\n\nWith some milk."),
        ("<think>- drinks: tea</think>Try some tea.", "Try some tea."),
        ("- drinks: tea", ""),
        ("", ""),
    ],
)
def test_what_a_user_would_read(output: str, said: str) -> None:
    assert spoken(output) == said
