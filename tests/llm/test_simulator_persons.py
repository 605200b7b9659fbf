"""The simulator's persons: the groups a sentence names, types that hold, profiles that agree, and its review."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.llm.simulator import persons, review
from personamem_pipeline.llm.simulator.choosing import RunOut, choose_by_matching, choose_in_order
from personamem_pipeline.llm.simulator.groups import KINDS, contradict, groups_of
from personamem_pipeline.llm.simulator.profiles import MADE_UP, STYLES
from personamem_pipeline.llm.simulator.world import OPPOSITE_TAGS, world

BY_TEXT = {preference.text: preference for preference in world().preferences}


def wanted(*pref_types: str, updated: bool = False) -> list[dict[str, Any]]:
    return [{"pref_type": pref_type, "who": "self", "updated": updated} for pref_type in pref_types]


@pytest.mark.parametrize("updated", [False, True])
def test_a_type_is_what_it_says_even_after_a_change(updated: bool) -> None:
    mine = {"young", "office", "city"}
    for seed in range(40):
        for pref_type in ("stereotypical_pref", "anti_stereotypical_pref"):
            given = {
                "seed_persona": "A young office worker from the city.",
                "wanted": wanted(pref_type, updated=updated),
            }
            item = persons.persona(given, random.Random(seed))["preferences"][0]
            texts = [text for text in (item["text"], item["changes_to"]) if text]
            assert len(texts) == 1 + updated
            for text in texts:
                tags = set(BY_TEXT[text].typical_of)
                assert tags
                assert bool(tags & mine) == (pref_type == "stereotypical_pref")
            assert len({BY_TEXT[text].topic for text in texts}) == 1


TYPES = st.sampled_from(["stereotypical_pref", "anti_stereotypical_pref", "neutral_preferences"])
GROUPS = st.lists(st.sampled_from(list(OPPOSITE_TAGS)), min_size=1, max_size=4, unique=True)


@given(st.lists(st.tuples(TYPES, st.booleans()), max_size=18), GROUPS, st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_matching_keeps_the_rules_and_never_runs_out_before_going_in_order_does(
    wishes: list[tuple[str, bool]], groups: list[str], seed: int
) -> None:
    wants = [{"pref_type": kind, "who": "self", "updated": updated} for kind, updated in wishes]
    try:
        chosen = choose_by_matching(wants, groups, random.Random(seed))
    except RunOut:
        with pytest.raises(RunOut):
            choose_in_order(wants, groups, random.Random(seed))
        return
    assert len({option.topic for option, _ in chosen}) == len(wants)
    for want, (option, successor) in zip(wants, chosen, strict=True):
        assert bool(successor) == want["updated"]
        for text in (option.text, successor) if successor else (option.text,):
            mine = set(BY_TEXT[text].typical_of) & set(groups)
            assert bool(mine) == (want["pref_type"] == "stereotypical_pref")


def test_a_later_wish_gets_the_topic_that_it_cannot_do_without() -> None:
    # A single manual worker has three tastes each; all six fit only when none takes another's topic.
    wants = wanted(*["stereotypical_pref"] * 6)
    topics = {p.topic for p in world().preferences if set(p.typical_of) & {"single", "manual"}}
    for seed in range(30):
        chosen = choose_by_matching(wants[: len(topics)], ["single", "manual"], random.Random(seed))
        assert {option.topic for option, _ in chosen} == topics


def test_where_tastes_run_out_the_author_makes_up_more_of_the_person() -> None:
    given = {
        "seed_persona": "A middle-aged manual worker from the city.",
        "wanted": wanted(*["stereotypical_pref"] * 10),
    }
    person = persons.persona(given, random.Random(0))
    groups = person["profile"]["groups"].split(", ")
    assert groups[:2] == ["city", "manual"]
    assert set(groups[2:]) & set(KINDS["family"])
    assert not set(groups[2:]) - set(KINDS["family"]), "age, work and place are said"
    assert person["profile"]["family"] in ("parent", "single")
    for item in person["preferences"]:
        assert set(BY_TEXT[item["text"]].typical_of) & set(groups)


def test_an_impossible_person_is_an_error_that_says_why() -> None:
    given = {"seed_persona": "young", "wanted": wanted(*["therapy_background"] * 2)}
    with pytest.raises(ValueError, match="no therapy_background left"):
        persons.persona(given, random.Random(0))
    given = {"seed_persona": "young", "wanted": wanted(*["sensitive_info"] * 6)}
    with pytest.raises(ValueError, match="5 kinds of private values, not 6"):
        persons.persona(given, random.Random(0))


@pytest.mark.parametrize(
    ("sentence", "hints", "known"),
    [
        ("A young office worker from the city.", {}, ("young", "city", "office")),
        ("A woman aged 18 to 29, student, from a town.", {}, ("young", "student")),
        ("A 70-year-old from the coast", {}, ("older", "coast")),
        ("A cook aged 40 from the coast", {"age": "18 to 29"}, ("coast",)),  # the sentence wins
        ("A middle-aged cook from the coast", {"age": "young"}, ("coast",)),
        ("A cook from the coast", {"location": "a big city", "age": "65 to 85"}, ("older", "coast")),
        ("A cook", {"family": "single parent", "occupation": "a cook"}, ("parent", "single")),
    ],
)
def test_groups_are_what_sentence_and_hints_say(sentence: str, hints: dict[str, str], known: tuple[str, ...]) -> None:
    assert groups_of(sentence, hints, random.Random(0)).known == known


@pytest.mark.parametrize("sentence", ["Somebody who collects maps", "A cook aged 40", "A cook aged 90 to 12."])
def test_of_whom_nothing_is_known_two_groups_are_made_up_that_agree(sentence: str) -> None:
    for seed in range(40):
        person = persons.persona(
            {"seed_persona": sentence, "wanted": wanted("stereotypical_pref")}, random.Random(seed)
        )
        groups = person["profile"]["groups"].split(", ")
        assert len(groups) == 2
        assert not contradict(*groups)
        assert not set(groups) & set(KINDS["occupation"])
        assert ("40" in sentence) <= (not set(groups) & set(KINDS["age"]))
        assert person["preferences"][0]["text"]


def profile(sentence: str, hints: dict[str, str]) -> dict[str, str]:
    given = {"seed_persona": sentence, "attributes": hints, "wanted": []}
    found = persons.persona(given, random.Random(1))["profile"]
    assert isinstance(found, dict)
    return found


def test_the_profile_agrees_with_sentence_and_hints() -> None:
    hints = {
        "gender": "trans woman", "sexual_orientation": "bisexual", "race_ethnicity": "East Asian", "age": "30 to 44",
        "occupation": "office worker in sales", "family": "single parent", "location": "a suburb of a city",
    }  # fmt: skip
    of_hints = profile("Somebody who collects maps.", hints)
    assert {name: of_hints[name] for name in hints if name != "age"} == {n: v for n, v in hints.items() if n != "age"}
    assert 30 <= int(of_hints["age"]) <= 44
    of_sentence = profile("A gay trans man aged 71, Latino, retired and single, from the coast.", hints)
    expected = {
        "gender": "trans man", "sexual_orientation": "gay", "race_ethnicity": "Latino", "age": "71",
        "occupation": "retired person", "family": "single", "location": "the coast",
    }  # fmt: skip
    assert {name: of_sentence[name] for name in expected} == expected
    of_both = profile("A woman, office worker in sales, living in a suburb of a city.", hints)
    assert (of_both["gender"], of_both["occupation"]) == ("woman", "office worker in sales")
    assert of_both["location"] == "a suburb of a city"
    of_nothing = profile("A young student from the city.", {})
    assert (of_nothing["age"], of_nothing["gender"], of_nothing["family"]) == ("24", "", "")
    assert of_nothing["speaking_style"] in STYLES


def test_no_word_of_a_profile_gives_a_preference_away() -> None:
    fields = [value for values in MADE_UP.values() for value in values]
    fields += [text for style, facets in STYLES.items() for text in (style, *facets)]
    phrases = [*BY_TEXT, *world().cues()]
    given_away = re.compile(rf"\b({'|'.join(map(re.escape, phrases))})\b")
    assert not [value for value in fields if given_away.search(value.lower())]
    assert given_away.search(f"likes {phrases[0]}")


def test_the_review_knows_what_contradicts_what() -> None:
    decor, drinks = world().topic("decor").preferences, world().topic("drinks").preferences

    def entry(number: int, text: str, who: str = "self", replaces: str = "") -> dict[str, str]:
        return {"id": f"p{number}", "text": text, "who": who, "replaces": replaces}

    cases: list[tuple[list[dict[str, str]], list[tuple[str, str, str]]]] = [
        ([entry(0, decor[0].text), entry(1, drinks[0].text)], []),
        ([entry(0, decor[0].text), entry(1, decor[1].text)], [("p0", "p1", "conflict")]),
        ([entry(0, decor[0].text), entry(1, decor[1].text, replaces="p0")], []),
        ([entry(0, decor[0].text), entry(1, decor[1].text, who="others")], []),
        ([entry(0, decor[0].text), entry(1, decor[0].text, who="others")], [("p0", "p1", "duplicate")]),
        ([entry(0, "tin soldiers"), entry(1, "lead soldiers")], []),
        ([entry(0, "tin soldiers"), entry(1, "tin soldiers")], [("p0", "p1", "duplicate")]),
    ]
    for preferences, expected in cases:
        found = review.review({"preferences": preferences}, random.Random(0))["problems"]
        assert [(problem["first"], problem["second"], problem["kind"]) for problem in found] == expected


def test_every_written_person_passes_the_review() -> None:
    types = ["stereotypical_pref", "anti_stereotypical_pref", "neutral_preferences"] * 3
    for seed in range(20):
        given = {"seed_persona": "An older parent from the city.", "wanted": wanted(*types)}
        items = persons.persona(given, random.Random(seed))["preferences"]
        shown = [{"id": str(i), "text": item["text"], "who": "self", "replaces": ""} for i, item in enumerate(items)]
        assert review.review({"preferences": shown}, random.Random(0)) == {"problems": []}
