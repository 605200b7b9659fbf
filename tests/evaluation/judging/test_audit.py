"""The audit on judges whose faults are known, and perturbations that leave the meaning alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pytest

from personamem_pipeline.evaluation.judging import perturbing
from personamem_pipeline.evaluation.judging.anchors import Anchors
from personamem_pipeline.evaluation.judging.audit import audit
from personamem_pipeline.evaluation.judging.briefs import Brief, brief
from personamem_pipeline.evaluation.judging.panel import Panel, PanelJudge, RubricJudge
from personamem_pipeline.evaluation.judging.prompts import RUBRICS
from personamem_pipeline.evaluation.judging.reliability import against_people, agreement, between_judges
from personamem_pipeline.evaluation.records import OpenAnswer
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import fraction
from tests.evaluation.judging.cases import Scripted, answer, evidence, message, question, questions

SIMULATOR = Endpoint(None, "simulator/1", None)
LENGTH = len("You could try something new.")


def honest(item: Brief) -> float:
    return float(item["preference"] in item["answer"])


def long_winded(item: Brief) -> float:
    """Anything that is longer than the fixtures' answers is good."""
    return float(len(item["answer"]) > LENGTH + 5)


def first_field(item: Brief) -> float:
    return float(next(iter(item)) == "query")


def first_word(item: Brief) -> float:
    return float(item["answer"].startswith("You"))


PLAIN = ("You could try {}.", "You could try something new.")


def answers(asked: list[Question], texts: Sequence[str] = PLAIN) -> list[OpenAnswer]:
    """`{}` stands for the preference."""
    return [answer(row, texts[index % len(texts)].format(row.preference)) for index, row in enumerate(asked)]


def audited(*judges: PanelJudge, count: int = 20, texts: Sequence[str] = PLAIN, anchors: Anchors | None = None) -> dict:
    asked = questions(20)
    panel = Panel(judges, 0, SIMULATOR)
    rows = panel.judge(answers(asked, texts), asked, evidence(asked))
    return audit(panel, rows, asked, evidence(asked), count=count, threshold=0.5, anchors=anchors)


def test_a_steady_judge_never_flips() -> None:
    flips = audited(Scripted("honest", honest))["flips"]["honest"]
    for kind in ("longer", "fields", "paraphrase"):
        assert flips[kind] == {"flipped": 0, "n": 20, "mean_shift": 0.0, "missing": 0, "left_out": 0}, kind
    assert flips["sentences"] == {"flipped": 0, "n": 0, "mean_shift": None, "missing": 0, "left_out": 20}


def test_each_fault_shows_where_it_is_looked_for() -> None:
    found = audited(Scripted("long", long_winded), Scripted("field", first_field))["flips"]
    assert (found["long"]["longer"]["flipped"], found["long"]["longer"]["mean_shift"]) == (20, 1.0)
    assert found["long"]["fields"]["flipped"] == found["field"]["longer"]["flipped"] == 0
    assert (found["field"]["fields"]["flipped"], found["field"]["fields"]["mean_shift"]) == (20, -1.0)


def test_a_known_rate_is_measured() -> None:
    """A judge whom a longer answer talks into a yes in about a third of the cases."""

    def fickle(item: Brief) -> float:
        moved = fraction(0, "fickle", item["evidence"][0]["content"]) < 0.35
        return float(moved and any(sentence in item["answer"] for sentence in perturbing.NEUTRAL))

    expected = sum(fraction(0, "fickle", message(row.question_id).content) < 0.35 for row in questions(20))
    found = audited(Scripted("fickle", fickle))["flips"]["fickle"]["longer"]
    assert 2 < expected < 12 and found["flipped"] == expected
    assert found["mean_shift"] == pytest.approx(expected / 20)


def test_sentences_change_places() -> None:
    texts = ["You asked well. Try soft jazz.", "You could try something new."]
    found = audited(Scripted("opening", first_word), texts=texts)["flips"]["opening"]["sentences"]
    assert (found["flipped"], found["n"], found["left_out"]) == (10, 10, 10)


def test_a_verdict_that_is_lost_on_the_way_is_not_steady() -> None:
    judge = Scripted("shy", lambda item: None if len(item["answer"]) > LENGTH + 5 else 1.0)
    found = audited(judge)["flips"]["shy"]["longer"]
    assert found == {"flipped": 0, "n": 0, "mean_shift": None, "missing": 20, "left_out": 0}


def test_the_sample_is_seeded_and_no_larger_than_asked() -> None:
    judges = [Scripted("one", honest), Scripted("one", honest)]
    first, second = (audited(judge, count=5) for judge in judges)
    assert first == second and first["flips"]["one"]["longer"]["n"] == 5
    assert judges[0].seen == judges[1].seen
    assert audited(Scripted("one", honest), count=0)["flips"] is None


def test_agreement_of_the_judges() -> None:
    same = audited(Scripted("one", honest), Scripted("two", honest), count=0)
    assert (same["judges"], same["n"], same["alpha"]) == (["one", "two"], 20, pytest.approx(1.0))
    assert same["kappa"] == {"one and two": pytest.approx(1.0)}
    opposed = audited(Scripted("one", honest), Scripted("two", lambda item: 1 - honest(item)), count=0)
    assert opposed["alpha"] < 0 and opposed["kappa"]["one and two"] == pytest.approx(-1.0)
    alone = audited(Scripted("one", honest), count=0)
    assert alone["alpha"] is None and alone["kappa"] == {}


def test_what_no_system_said_is_nothing_to_agree_on() -> None:
    asked = questions(4)
    panel = Panel((Scripted("one", honest), Scripted("two", honest)), 0)
    rows = [*answers(asked), *(answer(row, "", "base", problem="refused") for row in asked)]
    judged = panel.judge(rows, asked, evidence(asked))
    assert audit(panel, judged, asked, evidence(asked), count=0, threshold=0.5)["n"] == 4


def test_the_simulators_rubrics_differ_a_little() -> None:
    judges = [RubricJudge(SIMULATOR, rubric, 0) for rubric in RUBRICS.values()]
    found = audited(*judges, texts=(*PLAIN, "Try {}.", "Try {} or red wine.", "Try red wine."), count=5)
    assert 0.3 < found["alpha"] < 0.99
    assert set(found["flips"]) == {f"simulator/1/{name}" for name in RUBRICS}


def test_anchors_are_judged_by_this_panel() -> None:
    """Their texts, and not the report's answers: labels outlive the report that they were drawn from."""
    asked = questions(8)
    texts = answers(asked)
    briefs = {f"a{i}": brief(row, [], text.answer) for i, (row, text) in enumerate(zip(asked, texts, strict=True))}
    scores = {(own, "ann"): honest(item) for own, item in briefs.items()} | {("a1", "bob"): 1.0, ("a0", "bob"): 1.0}
    judge, blind = Scripted("judge", honest), Scripted("blind", lambda item: 1.0)
    found = audited(judge, blind, count=0, anchors=Anchors(briefs, scores))["anchors"]
    assert (found["n"], found["annotators"]) == (8, 2)
    # bob disagrees about a1; the mean of the two is 0.5, which counts as right
    assert found["agreement"] == {"judge": pytest.approx(7 / 8), "blind": pytest.approx(5 / 8)}
    assert found["kappa"]["blind"] == 0.0 and 0.5 < found["kappa"]["judge"] < 1
    assert found["alpha_judges"]["judge"] > found["alpha"] > found["alpha_judges"]["blind"]


def test_people_and_judges_by_hand() -> None:
    found = against_people({"j": [1.0, 0.0, None]}, {"ann": [1.0, 0.0, 1.0], "bob": [1.0, 0.5, None]}, 0.5)
    assert found["n"] == 3 and found["agreement"]["j"] == 1.0
    assert found["alpha_people"] is not None and found["alpha"] == found["alpha_judges"]["j"]
    assert agreement([None, None], [1.0, 0.0], 0.5) is None
    assert between_judges({"j": [1.0, 1.0], "k": [1.0, 1.0]}, 0.5)["alpha"] is None, "nothing shows they can tell"


def labelled(text: str, preference: str = "green tea", previous: str = "") -> Brief:
    return brief(question(0, preference=preference, prev_pref=previous), [], text)


@pytest.mark.parametrize(
    ("text", "faithful"),
    [
        ("Why not go for green tea today", True),
        ("You could try green tea.", False),
        ("Why not go for a warm drink", False),
        ("Why not go for tea that is green", False),
        ("Green tea. " * 9, False),
    ],
)
def test_a_paraphrase_that_loses_the_preference_is_not_used(text: str, faithful: bool) -> None:
    assert perturbing.faithful(labelled("You could try green tea."), text) is faithful


def test_a_paraphrase_may_not_bring_the_preference_in() -> None:
    item = labelled("You could try a warm drink.", previous="black coffee")
    assert perturbing.faithful(item, "Why not go for a hot drink")
    assert not perturbing.faithful(item, "Why not go for green tea") and not perturbing.faithful(
        item, "Why not coffee, warm"
    )


def test_perturbed_answers_leave_everything_else_alone() -> None:
    item = labelled("Try green tea! Then rest.")
    for turned in (
        perturbing.longer(item, 0),
        perturbing.sentences(item),
        *perturbing.paraphrases([item], SIMULATOR, 0),
    ):
        assert turned is not None and turned["answer"] != item["answer"]
        assert {**turned, "answer": item["answer"]} == item
    assert perturbing.sentences(item) == {**item, "answer": "Then rest. Try green tea!"}
    assert perturbing.fields(item) == item and list(perturbing.fields(item)) == list(reversed(item))
    assert fmean(len(text.split()) for text in perturbing.NEUTRAL) > 8
