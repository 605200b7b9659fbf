"""The asked-for form, and nothing that only looks like it."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.training.rewards.format import format_reward
from personamem_pipeline.training.targets import ideal_answer
from tests.rooms import rooms
from tests.training.conftest import MEMORY

OPTIONS = {"a": "You could try tea.", "b": "You could try wine."}


def reply(text: str, finished: bool = True) -> Generation:
    return Generation((1,), (2, 3), text, finished)


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("- drinks: tea \\boxed{a}", 1.0),
        ("none\nYou could try wine.", 1.0),
        ("<think>\\boxed{a} or \\boxed{b}?</think>none \\boxed{b}", 1.0),
        ("\\boxed{a} or \\boxed{b}", 0.0),
        ("\\boxed{a} \\boxed{a}", 0.0),
        ("\\boxed{c}", 0.0),
        ("<think>\\boxed{a}", 0.0),
        ("a", 0.0),
        ("", 0.0),
    ],
)
def test_a_choice_states_one_option(text: str, reward: float) -> None:
    assert format_reward(reply(text), OPTIONS) == reward
    assert format_reward(reply(text, finished=False), OPTIONS) == 0.0


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("- drinks: tea\nYou could try tea.", 1.0),
        ("none\nAny drink will do.", 1.0),
        ("<think>hm</think>\nnone\nAny drink.", 1.0),
        ("user: I left my whisk.\nYou could try tea.", 1.0),
        ("You could try tea.\nIt is warm.", 0.0),
        ("- drinks: tea", 0.0),
        ("- drinks: tea\n\n", 0.0),
        ("-\nYou could try tea.", 0.0),
        ("none of it matters\nYou could try tea.", 0.0),
        ("", 0.0),
    ],
)
def test_an_open_reply_quotes_then_replies(text: str, reward: float) -> None:
    assert format_reward(reply(text), None) == reward
    assert format_reward(reply(text, finished=False), None) == 0.0


@pytest.mark.parametrize("style", ["full", "compact"])
@pytest.mark.parametrize("reasoning", [False, True])
def test_what_sft_teaches_has_the_form(style: Literal["full", "compact"], reasoning: bool) -> None:
    config = MEMORY.model_copy(update={"prompts": style, "reasoning": reasoning})
    chats = {own.person_id: own.messages for own in rooms().histories}
    for question in rooms().questions:
        options, letter = lettered(question, 0)
        for known in ("", chats[question.person_id]):
            assert format_reward(reply(ideal_answer(config, question, known, options, letter)), options) == 1.0
            assert format_reward(reply(ideal_answer(config, question, known, None, None)), None) == 1.0


@given(text=st.text(), options=st.sampled_from([None, OPTIONS]), finished=st.booleans())
def test_it_is_all_or_nothing(text: str, options: dict[str, str] | None, finished: bool) -> None:
    assert format_reward(reply(text, finished), options) in (0.0, 1.0)
