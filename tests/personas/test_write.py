"""Persons as the endpoint writes them: what was planned, checked, and no seed without a person or a reason."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.llm.simulator import app
from personamem_pipeline.personas.plan import Want, plan_wants
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.personas.write import PersonaReply, Profile, WrittenPreference, find_problem, write_personas
from personamem_pipeline.presets import PersonasConfig, SeedsConfig
from personamem_pipeline.records import Persona, PersonaSeed, Rejection

Json = Mapping[str, Any]
Task = Callable[[Json, random.Random], dict[str, Any]]
SEEDS = SeedsConfig(training_persons=12, benchmark_persons=8)
PERSONAS = PersonasConfig(
    self_preferences=4, others_share=0.6, sensitive_share=0.6, updated_share=0.7, forgotten_share=0.7
)
LARGE = PersonasConfig(
    self_preferences=16, updated_share=0.5, forgotten_share=0.4, others_share=0.5, sensitive_share=0.5, per_chance=3
)


def simulator() -> Endpoint:
    return Endpoint(base_url=None, model="simulator/1", api_key=None)


def write(config: PersonasConfig = PERSONAS, seeds: SeedsConfig = SEEDS) -> tuple[list[Persona], list[Rejection]]:
    return write_personas(draw_seeds(seeds, 0).rows, config, simulator(), 0)


def answer_with(monkeypatch: pytest.MonkeyPatch, task: str, change: Callable[[Json, dict[str, Any]], Any]) -> None:
    """The simulator's real answer to a task, changed before it is sent."""
    honest: Task = app.TASKS[task]
    monkeypatch.setitem(app.TASKS, task, lambda brief, rng: change(brief, honest(brief, rng)))


@pytest.mark.parametrize(("config", "tables"), [(PERSONAS, "simulator"), (LARGE, "simulator"), (LARGE, "demographics")])
def test_written_persons_are_what_was_planned(config: PersonasConfig, tables: str) -> None:
    seeds = SeedsConfig(tables=tables, training_persons=30, benchmark_persons=10)
    personas, rejected = write(config, seeds)
    assert len(personas) + len(rejected) == 40
    assert len(rejected) <= 1, rejected
    by_seed = {row.person_id: row for row in draw_seeds(seeds, 0).rows}
    for persona in personas:
        wants = plan_wants(persona.person_id, config, 0)
        first = [preference for preference in persona.preferences if preference.replaces is None]
        assert [(p.pref_type, p.who, p.forgotten) for p in first] == [(w.pref_type, w.who, w.forgotten) for w in wants]
        assert len({p.topic for p in first}) == len(first)
        assert [p.preference_id for p in persona.preferences] == [
            f"{persona.person_id}.p{index}" for index in range(len(persona.preferences))
        ]
        by_id = {p.preference_id: p for p in persona.preferences}
        assert sum(want.updated for want in wants) == len(by_id) - len(first)
        for preference in persona.preferences:
            if preference.replaces:
                old = by_id[preference.replaces]
                assert (old.topic, old.pref_type) == (preference.topic, preference.pref_type)
                assert old.text != preference.text
                assert not (old.forgotten or preference.forgotten)
        assert persona.author == "simulator/1"
        assert persona.attributes == by_seed[persona.person_id].attributes
        assert set(persona.profile) == set(Profile.model_fields)


def test_writing_is_reproducible_and_does_not_depend_on_the_neighbours() -> None:
    rows = draw_seeds(SEEDS, 0).rows
    everybody, _ = write()
    some, _ = write_personas(rows[5:9], PERSONAS, simulator(), 0)
    assert write()[0] == everybody
    assert some == [persona for persona in everybody if persona.person_id in {row.person_id for row in rows[5:9]}]
    assert some


def test_who_cannot_be_written_is_rejected_with_a_reason() -> None:
    # 40 tastes of three types, each in a topic of its own: more than the simulator's world has topics.
    config = PersonasConfig(self_preferences=40, updated_share=0)
    written, rejected = write(config, SeedsConfig(training_persons=2, benchmark_persons=1))
    assert written == []
    assert [row.row_id for row in rejected] == [row.person_id for row in rejected] == ["t0000", "t0001", "b0000"]
    assert all("left for somebody" in row.reason for row in rejected)
    assert write(PERSONAS)[1] == []
    assert write_personas([], PERSONAS, simulator(), 0) == ([], [])


@pytest.mark.parametrize("review", [True, False])
def test_progress_reaches_its_end_with_and_without_a_review(review: bool) -> None:
    told: list[tuple[int, int]] = []
    config = PERSONAS.model_copy(update={"review": review})
    write_personas(draw_seeds(SEEDS, 0).rows, config, simulator(), 0, lambda done, of: told.append((done, of)))
    assert told == [(step, len(told)) for step in range(1, len(told) + 1)]
    assert len(told) == 20 * (1 + review)


def test_the_hints_are_given_where_the_sentence_leaves_something_open(monkeypatch: pytest.MonkeyPatch) -> None:
    briefs: dict[str, Json] = {}

    def keep(brief: Json, reply: dict[str, Any]) -> dict[str, Any]:
        briefs[str(brief["seed_persona"])] = brief
        return reply

    answer_with(monkeypatch, "persona", keep)
    told = PersonaSeed(person_id="t0", split="training", persona="A young nurse.", attributes={"age": "young"})
    hinted = PersonaSeed(person_id="t1", split="training", persona="A nurse.", attributes={"age": "young"})
    write_personas([told, hinted], PERSONAS, simulator(), 0)
    assert "attributes" not in briefs["A young nurse."]
    assert briefs["A nurse."]["attributes"] == {"age": "young"}


def spoil_first(brief: Json, reply: dict[str, Any]) -> dict[str, Any]:
    return {**reply, "preferences": reply["preferences"][1:]}


def leak(brief: Json, reply: dict[str, Any]) -> dict[str, Any]:
    first = reply["preferences"][0]["text"]
    return {**reply, "profile": {**reply["profile"], "hobbies": f"is known for {first.title()}!"}}


def everybody_alike(brief: Json, reply: dict[str, Any]) -> dict[str, Any]:
    same = [
        {**item, "text": f"thing {index}", "changes_to": item["changes_to"] and f"new thing {index}"}
        for index, item in enumerate(reply["preferences"])
    ]
    return {**reply, "preferences": same}


@pytest.mark.parametrize(("change", "code", "left"), [(spoil_first, "plan", 0), (leak, "profile", 0)])
def test_a_reply_that_fails_its_checks_is_kept_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Json, dict[str, Any]], Any], code: str, left: int
) -> None:
    answer_with(monkeypatch, "persona", change)
    personas, rejected = write()
    assert len(personas) == left
    assert len(rejected) == 20 - left
    for row in rejected:
        assert row.row_id == row.person_id
        assert row.reason.startswith(f"{code}: ")
        assert '"name"' in row.content
        assert len(row.content) <= 2000


def test_twins_are_one_person_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, "persona", everybody_alike)
    config = PersonasConfig(self_preferences=4, updated_share=0, others_share=0, sensitive_share=0)
    personas, rejected = write(config)
    assert [persona.person_id for persona in personas] == ["t0000"]
    assert Counter(row.reason for row in rejected) == {"twin: the same preferences as t0000": 19}


@pytest.mark.parametrize(
    ("problems", "reason"),
    [
        ([{"first": "nobody", "second": "t0000.p1", "kind": "conflict", "why": ""}], "review: it names unknown"),
        ([{"first": "t0000.p1", "second": "t0000.p1", "kind": "conflict", "why": ""}], "review: it "),
        ([{"first": "t0000.p0"}], "review: "),
        ("none", "review: "),
    ],
)
def test_a_review_fails_closed(monkeypatch: pytest.MonkeyPatch, problems: Any, reason: str) -> None:
    answer_with(monkeypatch, "review", lambda brief, reply: {"problems": problems})
    personas, rejected = write()
    assert personas == []
    assert [row.row_id for row in rejected] == [row.person_id for row in draw_seeds(SEEDS, 0).rows]
    assert all(row.reason.startswith(reason) for row in rejected)
    if reason.startswith("review: it"):  # the reply had the right form
        assert all('"problems"' in row.content for row in rejected)


def test_a_review_that_errs_rejects_the_person_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def err(brief: Json, reply: dict[str, Any]) -> dict[str, Any]:
        if brief["preferences"][0]["id"] == "t0003.p0":
            raise ValueError("cannot say")
        return reply

    honest, _ = write()
    answer_with(monkeypatch, "review", err)
    personas, rejected = write()
    assert [row.row_id for row in rejected] == ["t0003"]
    assert "cannot say" in rejected[0].reason
    assert personas == [persona for persona in honest if persona.person_id != "t0003"]


def test_what_a_review_names_goes_and_the_rest_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_and_last(brief: Json, reply: dict[str, Any]) -> dict[str, Any]:
        ids = [item["id"] for item in brief["preferences"]]
        return {"problems": [{"first": ids[-1], "second": ids[0], "kind": "conflict", "why": "never both"}]}

    honest, _ = write(LARGE)
    answer_with(monkeypatch, "review", first_and_last)
    personas, rejected = write(LARGE)
    assert [persona.person_id for persona in personas] == [persona.person_id for persona in honest]
    assert len(rejected) >= 20
    before = {p.preference_id: p for persona in honest for p in persona.preferences}
    after = {p.preference_id: p for persona in personas for p in persona.preferences}
    assert after.items() <= before.items()
    assert {row.row_id for row in rejected} == set(before) - set(after)
    assert all(row.reason.startswith("conflict: ") for row in rejected)


def test_who_has_lost_more_than_half_is_rejected_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_alike(brief: Json, reply: dict[str, Any]) -> dict[str, Any]:
        return {**reply, "preferences": [{**item, "text": "green tea"} for item in reply["preferences"]]}

    answer_with(monkeypatch, "persona", all_alike)
    personas, rejected = write(PersonasConfig(self_preferences=4, updated_share=0, others_share=0, sensitive_share=0))
    assert personas == []
    assert len(rejected) == 20
    assert all(row.row_id == row.person_id and row.reason.startswith("too_few: 1 of 4") for row in rejected)


def reply(*items: tuple[str, str, str], **profile: str) -> PersonaReply:
    preferences = [WrittenPreference(topic=topic, text=text, changes_to=to) for topic, text, to in items]
    empty = dict.fromkeys(Profile.model_fields, "")
    filled = Profile(**{**empty, "age": "1", "groups": "g", "speaking_style": "s", **profile})
    return PersonaReply(name="N", profile=filled, preferences=preferences)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([("drinks", "green tea", ""), ("pets", "old cats", "big dogs")], ""),
        ([("drinks", "green tea", "")], "plan: 1 preferences instead of 2"),
        ([("drinks", "green tea", ""), ("pets", "old cats", "")], "plan: 'old cats': no change"),
        ([("drinks", "green tea", "hot milk"), ("pets", "old cats", "big dogs")], "plan: 'green tea': an unwanted"),
        ([("drinks", "green tea", ""), ("pets", "old cats", "Old-Cats")], "plan: 'old cats' changes to itself"),
        ([("drinks", "green tea", ""), ("Drinks", "old cats", "big dogs")], "plan: duplicate topic: drinks"),
    ],
)
def test_an_answer_that_is_not_the_plan_is_found_out(items: list[tuple[str, str, str]], problem: str) -> None:
    plan = [Want("neutral_preferences"), Want("neutral_preferences", updated=True)]
    found = find_problem(reply(*items), plan)
    assert found.startswith(problem)
    assert bool(problem) == bool(found)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [("GREEN tea at four", True), ("big-dogs, mostly", True), ("evergreen team", False), ("tea that is green", False)],
)
def test_a_profile_may_not_mention_a_preference(entry: str, problem: bool) -> None:
    plan = [Want("neutral_preferences"), Want("neutral_preferences", updated=True)]
    items = (("drinks", "green tea", ""), ("pets", "old cats", "big dogs"))
    for field in ("hobbies", "values", "speaking_style"):
        assert bool(find_problem(reply(*items, **{field: entry}), plan)) is problem
