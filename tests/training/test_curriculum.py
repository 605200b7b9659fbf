"""The order of training: the asked-for mix in every step, every question before any repeats, the same in any process."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.prompts import open_answer
from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.training.grpo.curriculum import curriculum, rows_of_steps
from tests.training.conftest import question

QUESTIONS = [question(number) for number in range(7)]
OF_PERSONS = [question(number, index) for number, own in enumerate((1, 3, 4, 5)) for index in range(own)]


def config(steps: int, prompts: int, share: float, seed: int = 0, questions_per_memory: int = 1) -> GrpoConfig:
    return GrpoConfig(
        questions_per_memory=questions_per_memory,
        steps=steps,
        prompts_per_step=prompts,
        rollouts=2,
        micro_batch_rows=2,
        learning_rate=1e-3,
        open_share=share,
        seed=seed,
    )


@given(steps=st.integers(1, 6), prompts=st.integers(1, 8), share=st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_every_step_has_the_same_mix_and_no_question_is_favoured(steps: int, prompts: int, share: float) -> None:
    items = curriculum(QUESTIONS, config(steps, prompts, share))
    assert len(items) == steps * prompts
    for start in range(0, len(items), prompts):
        assert sum(item.letter is None for item in items[start : start + prompts]) == round(share * prompts)
    counts = Counter(item.question.question_id for item in items)
    assert max(counts.values()) - min(counts.values() if len(counts) == len(QUESTIONS) else [0]) <= 1


@given(size=st.integers(1, 4), steps=st.integers(1, 8))
def test_a_memorys_questions_are_one_persons_and_all_come_round(size: int, steps: int) -> None:
    items = curriculum(OF_PERSONS, config(steps, 2 * size, 0.25, questions_per_memory=size))
    for start in range(0, len(items), size):
        block = items[start : start + size]
        assert len({item.question.person_id for item in block}) == 1
        choices = [(item.question.question_id, str(item.options)) for item in block if item.options]
        assert len(set(choices)) == len(choices), "a question that fills up a block comes in another order of options"
    epoch = sum(-(-own // size) for own in (1, 3, 4, 5))  # blocks until every question was asked
    if len(items) >= epoch * size:
        assert {item.question.question_id for item in items[: epoch * size]} == {q.question_id for q in OF_PERSONS}


def test_another_seed_is_another_order() -> None:
    first, same, other = (curriculum(QUESTIONS, config(2, 4, 0.2, seed)) for seed in (0, 0, 1))
    assert first == same and first != other


def test_letters_move_from_one_appearance_to_the_next() -> None:
    items = curriculum(QUESTIONS[:1], config(4, 1, 0.0))
    assert {item.letter for item in items} == set("abcd")


def test_the_judge_reads_the_answer_without_the_working() -> None:
    assert open_answer("- drinks: tea\nYou could try tea.") == "You could try tea."
    assert open_answer("- drinks: tea") == ""
    assert open_answer("<think>x</think>none\nAny drink.") == "Any drink."


@given(steps=st.integers(1, 4), together=st.sampled_from([1, 2]))
def test_a_step_rests_on_its_questions_and_on_the_histories_read_for_them(steps: int, together: int) -> None:
    figures = config(steps, 4, 0.5, questions_per_memory=together)
    items = curriculum(OF_PERSONS, figures)
    rows = rows_of_steps(items, figures)
    assert len(rows) == steps
    for number, step in enumerate(rows):
        own = [item.question for item in items[4 * number : 4 * number + 4]]
        assert step == {asked.question_id for asked in own} | {asked.person_id for asked in own}
