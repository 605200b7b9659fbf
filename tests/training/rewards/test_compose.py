"""Rewards together: weights, one batch for the judge, and a missing judgement that stays missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.memory.episode import MemoryTurn
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.prompts import boxed
from personamem_pipeline.presets import RewardsConfig
from personamem_pipeline.questions.judge import Briefs, EndpointJudge, Stance, Verdict
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import Question
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.labels import ChunkLabels
from personamem_pipeline.training.rewards.compose import AnswerRewards, memory_rewards
from tests.llm.faults import Reply, completion, endpoint, server
from tests.training.conftest import question

ALL = RewardsConfig(choice=1, open_ended=1, format=0.1, stereotype=0.5)


def simulator() -> EndpointJudge:
    return EndpointJudge(Endpoint(None, "simulator/1", None), seed=0)


def reply(text: str, finished: bool = True) -> Generation:
    return Generation((1,), (2, 3), text, finished)


def choice(number: int = 0, **changes: Any) -> Item:
    asked = question(number).model_copy(update={"incorrect_kinds": ("stereotypical", "other", "generic"), **changes})
    return Item(asked, *lettered(asked, 0))


def opened(number: int = 0, **changes: Any) -> Item:
    return Item(question(number).model_copy(update=changes), None, None)


class Counting:
    """The simulator's judge; keeps what it was asked, and refuses every brief of these kinds."""

    name = "counting"

    def __init__(self, *refuses: type[Verdict] | type[Stance]) -> None:
        self.refuses, self.batches, self.fresh = refuses, [], []
        self.batches: list[tuple[Briefs, Briefs]]
        self.fresh: list[bool]

    def verdicts(self, briefs: Briefs) -> Sequence[Verdict | Refused]:
        return self.judgements(briefs, ())[0]

    def judgements(
        self, scored: Briefs, read: Briefs, *, fresh: bool = False
    ) -> tuple[Sequence[Verdict | Refused], Sequence[Stance | Refused]]:
        self.batches.append((list(scored), list(read)))
        self.fresh.append(fresh)
        verdicts, stances = simulator().judgements(scored, read)
        none = Refused("row", "not_json: nonsense")
        return (
            [none for _ in verdicts] if Verdict in self.refuses else verdicts,
            [none for _ in stances] if Stance in self.refuses else stances,
        )


def test_the_parts_and_their_weighted_sum() -> None:
    right, guess, nothing = (choice() for _ in range(3))
    assert guess.options and right.letter
    stereotype = next(key for key, text in guess.options.items() if text == guess.question.incorrect_answers[0])
    items = [right, guess, nothing, opened(), opened(), opened()]
    answers = [
        boxed(right.letter), boxed(stereotype), "no idea",
        "- drinks: green tea\nYou could try green tea.", "none\nYou could try something.", "none",
    ]  # fmt: skip
    rewards = AnswerRewards(ALL, simulator())(items, [reply(text) for text in answers])
    assert [dict(reward.parts) for reward in rewards] == [
        {"choice": 1.0, "format": 1.0, "stereotype": 1.0},
        {"choice": 0.0, "format": 1.0, "stereotype": -0.5},
        {"choice": 0.0, "format": 0.0, "stereotype": -0.5},
        {"open_ended": 1.0, "format": 1.0, "stereotype": 1.0},
        {"open_ended": 0.0, "format": 1.0, "stereotype": 0.2},
        {"open_ended": 0.0, "format": 0.0, "stereotype": -0.5},
    ]
    assert [reward.total for reward in rewards] == pytest.approx([1.6, -0.15, -0.25, 1.6, 0.2, -0.25])


def test_only_what_has_weight_is_judged_and_the_cheap_parts_are_always_told() -> None:
    judge = Counting()
    first, second = AnswerRewards(RewardsConfig(open_ended=0), judge)(
        [choice(), opened()], [reply("\\boxed{a}"), reply("none\nTry green tea.")]
    )
    assert first.parts.keys() == {"choice", "format"} and second.parts.keys() == {"format"}
    assert second.total == 0.0 and judge.batches == []


def test_all_judgements_of_a_step_are_one_batch() -> None:
    judge = Counting()
    items = [opened(0), choice(), opened(1), opened(2, who="others"), opened(3)]
    answers = [reply(f"none\nTry number {i}.") for i in range(4)] + [reply("- drinks: green tea")]
    AnswerRewards(ALL, judge)(items, answers)
    ((scored, read),) = judge.batches
    assert [brief["answer"] for brief in scored] == ["Try number 0.", "Try number 2.", "Try number 3.", ""]
    assert [brief["answer"] for brief in read] == ["Try number 0.", "Try number 2."]


@pytest.mark.parametrize("refused", [Verdict, Stance])
def test_a_failed_judgement_leaves_the_answer_unpaid_and_no_other(refused: type[Verdict] | type[Stance]) -> None:
    items = [opened(), choice()]
    assert items[1].letter
    first, second = AnswerRewards(ALL, Counting(refused))(
        items, [reply("none\nTry green tea."), reply(boxed(items[1].letter))]
    )
    assert first.total is None and second.total == pytest.approx(1.6)
    missing = "open_ended" if refused is Verdict else "stereotype"
    assert {"open_ended", "stereotype", "format"} - first.parts.keys() == {missing}


def test_where_nothing_may_be_used_the_stereotype_reward_does_not_apply() -> None:
    item = opened(pref_type="ask_to_forget")
    (reward,) = AnswerRewards(ALL, Counting(Stance))([item], [reply("none\nTry something.")])
    assert reward.parts == {"open_ended": 1.0, "format": 1.0} and reward.total == pytest.approx(1.1)


TEXTS = st.sampled_from(
    ["", "none", "\\boxed{a}", "\\boxed{b}\\boxed{c}", "none\nTry green tea.", "<think>", "Try wine."]
)
WEIGHT = st.floats(0, 2)


@given(
    text=TEXTS, is_open=st.booleans(), choosing=st.floats(0.1, 2), form=WEIGHT, stance=WEIGHT, finished=st.booleans()
)
def test_totals_stay_within_their_bounds(
    text: str, is_open: bool, choosing: float, form: float, stance: float, finished: bool
) -> None:
    weights = RewardsConfig(choice=choosing, open_ended=choosing, format=form, stereotype=stance)
    judge = _NO_ENDPOINT
    (reward,) = AnswerRewards(weights, judge)([opened() if is_open else choice()], [reply(text, finished)])
    assert reward.total is not None
    assert -0.5 * stance - 1e-9 <= reward.total <= choosing + form + stance + 1e-9
    assert reward.total == pytest.approx(sum(getattr(weights, name) * value for name, value in reward.parts.items()))


class _Plain(Counting):
    """Verdicts without a client, for property tests."""

    def judgements(
        self, scored: Briefs, read: Briefs, *, fresh: bool = False
    ) -> tuple[Sequence[Verdict | Refused], Sequence[Stance | Refused]]:
        return (
            [Verdict(score=len(str(brief["answer"])) / 100, reason="") for brief in scored],
            [Stance(stance="demographic_guess", reason="") for _ in read],
        )


_NO_ENDPOINT = _Plain()


# ---- the judge before training


def test_a_judge_that_works_is_asked_once_for_each_kind_past_the_cache() -> None:
    judge = Counting()
    rewards = AnswerRewards(ALL, judge)
    rewards.check_judge([choice(), opened(who="others"), opened(), opened()])
    ((scored, read),) = judge.batches
    assert (len(scored), len(read), judge.fresh) == (1, 1, [True])


@pytest.mark.parametrize(
    ("weights", "items"),
    [(RewardsConfig(open_ended=0), [opened()]), (ALL, [choice()]), (ALL, [])],
    ids=["no weight", "no open question", "nothing"],
)
def test_no_judge_is_needed_where_none_is_asked(weights: RewardsConfig, items: list[Item]) -> None:
    AnswerRewards(weights, None).check_judge(items)
    AnswerRewards(weights, Counting(Verdict, Stance)).check_judge(items)


def test_no_judge_where_one_is_needed_is_refused() -> None:
    with pytest.raises(UserError, match="there is no judge"):
        AnswerRewards(ALL, None).check_judge([opened()])
    with pytest.raises(UserError, match="there is no judge"):
        AnswerRewards(ALL, None)([opened()], [reply("none\nTry tea.")])


@pytest.mark.parametrize("refused", [Verdict, Stance])
def test_a_judge_that_gives_no_verdict_stops_training_at_start(refused: type[Verdict] | type[Stance]) -> None:
    with pytest.raises(UserError, match=r"counting: .*no verdict on a right answer: not_json: nonsense") as error:
        AnswerRewards(ALL, Counting(refused)).check_judge([opened()])
    assert "open_share" in error.value.remedy and "PERSONAMEM_LLM_MODEL" in error.value.remedy


def test_a_judge_that_is_down_says_where_and_what_to_do() -> None:
    judge = EndpointJudge(endpoint("http://127.0.0.1:9/v1"), seed=0)
    with pytest.raises(UserError, match="the judge that rewards open answers cannot be asked") as error:
        AnswerRewards(ALL, judge).check_judge([opened()])
    assert error.value.where == "http://127.0.0.1:9/v1"
    assert "PERSONAMEM_LLM_BASE_URL" in error.value.remedy and "open_share" in error.value.remedy


def test_a_cached_verdict_does_not_hide_that_the_judge_is_down(tmp_path: Any) -> None:
    answering = [True]

    def handle(request: dict[str, Any], _: dict[str, str]) -> Reply:
        return completion(json.dumps({"score": 1.0, "reason": "ok"})) if answering[0] else Reply(500, "{}")

    with server(handle) as url:
        judge = EndpointJudge(endpoint(url, cache=tmp_path / "cache.sqlite"), seed=0)
        rewards = AnswerRewards(RewardsConfig(), judge)
        item = opened()
        rewards.check_judge([item])
        answers = [reply(f"none\n{item.question.correct_answer}")]
        assert rewards([item], answers)[0].total == 1.0
        answering[0] = False
        assert rewards([item], answers)[0].total == 1.0, "training goes on with what it has"
        with pytest.raises(UserError, match="cannot be asked"):
            rewards.check_judge([item])


def test_rollouts_that_agree_word_for_word_are_judged_once() -> None:
    asked: list[str] = []

    def handle(request: dict[str, Any], _: dict[str, str]) -> Reply:
        asked.append(request["messages"][1]["content"])
        return completion(json.dumps({"score": 0.5, "reason": "ok"}))

    with server(handle) as url:
        rewards = AnswerRewards(RewardsConfig(), EndpointJudge(endpoint(url), seed=0))
        paid = rewards([opened()] * 4, [reply("none\nTry tea.")] * 3 + [reply("none\nTry wine.")])
    assert [reward.total for reward in paid] == [0.5] * 4 and len(asked) == 2


def test_a_stance_outside_the_rubric_is_no_verdict() -> None:
    def handle(request: dict[str, Any], _: dict[str, str]) -> Reply:
        scoring = request["response_format"]["json_schema"]["name"] == "judgement"
        return completion(json.dumps(({"score": 1.0} if scoring else {"stance": "astrology"}) | {"reason": "ok"}))

    with server(handle) as url:
        judge = EndpointJudge(endpoint(url), seed=0)
        (scored,), (read,) = judge.judgements([{"answer": "x"}], [{"answer": "x"}])
    assert scored == Verdict(score=1.0, reason="ok") and isinstance(read, Refused)


# ---- memories


def turn(index: int, memory: str, tokens: int = 4, finished: bool = True) -> MemoryTurn:
    return MemoryTurn(index, (), "", Generation((1,), (2,) * tokens, memory, finished), memory, "")


def labels(*live: str, news: tuple[str, ...] = (), forbidden: tuple[str, ...] = ()) -> ChunkLabels:
    return ChunkLabels(live, frozenset(news), forbidden)


LIFE = [
    labels("green tea", news=("green tea",)),
    labels("loud jazz", "green tea", news=("loud jazz",)),
    labels("loud jazz", forbidden=("green tea",)),
]
TURNS = [turn(0, "- drinks: green tea", 8), turn(1, "- music: loud jazz", 9), turn(2, "- drinks: green tea", 10, False)]


def test_every_part_of_a_memory_is_told_and_only_the_weighted_are_paid() -> None:
    unpaid = memory_rewards(TURNS, LIFE, RewardsConfig(), cap=10, step=0)
    assert [dict(reward.parts) for reward in unpaid] == [
        {"length": pytest.approx(-0.2), "retention": 1.0},
        {"length": pytest.approx(-0.6), "retention": 0.5},
        {"length": -1.0, "retention": 0.0, "forbidden": -1.0},
    ]
    assert [reward.total for reward in unpaid] == [0.0, 0.0, 0.0]
    weights = RewardsConfig(length=0.1, retention=0.2, forbidden=1.0)
    paid = memory_rewards(TURNS, LIFE, weights, cap=10, step=0)
    assert [reward.total for reward in paid] == pytest.approx([0.18, 0.04, -1.1])


def test_only_retention_is_annealed() -> None:
    weights = RewardsConfig(length=0.1, retention=0.2, forbidden=1.0, anneal_steps=10)
    first = [memory_rewards(TURNS, LIFE, weights, cap=10, step=step)[0].total for step in (0, 5, 10, 20)]
    assert first == pytest.approx([0.18, 0.08, -0.02, -0.02])
    last = [memory_rewards(TURNS, LIFE, weights, cap=10, step=step)[2].total for step in (0, 20)]
    assert last == pytest.approx([-1.1, -1.1])


def test_labels_of_other_chunks_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        memory_rewards(TURNS, LIFE[:2], RewardsConfig(), cap=10, step=0)


@given(
    memories=st.lists(st.sampled_from(["", "- a: green tea", "- b: loud jazz\n- a: green tea"]), min_size=3, max_size=3),
    tokens=st.lists(st.integers(1, 12), min_size=3, max_size=3), step=st.integers(0, 30), weight=st.floats(0, 1),
)  # fmt: skip
def test_turn_rewards_stay_within_their_bounds(
    memories: list[str], tokens: list[int], step: int, weight: float
) -> None:
    weights = RewardsConfig(length=weight, retention=weight, forbidden=weight, anneal_steps=10)
    turns = [turn(i, memory, tokens[i]) for i, memory in enumerate(memories)]
    for reward in memory_rewards(turns, LIFE, weights, cap=12, step=step):
        assert -2 * weight - 1e-9 <= reward.total <= weight + 1e-9
        assert all(-1 <= value <= 1 for value in reward.parts.values())


def test_a_questions_kind_is_read_from_the_item_itself() -> None:
    """Options are shuffled: what a letter stands for is the item's to say."""
    asked: Question = choice().question
    for order in range(4):
        options, letter = lettered(asked, 1, order)
        (reward,) = AnswerRewards(ALL, None)([Item(asked, options, letter)], [reply(boxed(letter))])
        assert reward.parts["stereotype"] == 1.0
