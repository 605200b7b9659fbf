"""The simulator's authors and readers of questions: words it may use, lengths it must hit, readers that read."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.llm.simulator import guesser, questions, reader
from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator.world import world

VOCABULARY = Path(__file__).parents[2] / "models" / "tiny-base" / "tokenizer.json"
PREFERENCES = world().preferences
SPELLED = {"Sorry", "own", "contact", "guest", "setup", "write"}
"""Words of the simulator that the tiny base model spells letter by letter; no more of them."""
LONG = " ".join(["We spoke about my week and a good part of the list, and it took all of the day."] * 12)


def brief(index: int = 0, **changes: Any) -> dict[str, Any]:
    preference = PREFERENCES[index]
    values = {
        "pref_type": "neutral_preferences", "who": "self", "topic": preference.topic, "preference": preference.text,
        "previous": "", "edition": "training", "profile": {"groups": "young, city"}, "right_length": "second",
    }  # fmt: skip
    return values | changes


def private(kind: str, place: str) -> dict[str, Any]:
    return {"pref_type": "sensitive_info", "topic": kind, "preference": "K44-718", "right_length": place}


def place_of(made: dict[str, Any]) -> tuple[int, int]:
    """The first and the last place by length that the right option shares."""
    right = len(made["correct_answer"])
    lengths = [len(text) for text in made["incorrect_answers"]]
    shorter = sum(length < right for length in lengths)
    return shorter, shorter + lengths.count(right)


@pytest.mark.parametrize("kind", sorted(say.SENSITIVE))
@pytest.mark.parametrize("place", questions.PLACES)
def test_private_rows_have_the_wanted_length_exactly(kind: str, place: str) -> None:
    for seed in range(10):
        made = questions.question(private(kind, place), random.Random(seed))
        assert place_of(made) == (questions.PLACES[place],) * 2
        assert made["incorrect_kinds"] == ["leak", "wrong", "helpless"]
        leak, wrong, helpless = made["incorrect_answers"]
        assert "K44-718" in leak
        assert "K44-718" not in made["correct_answer"] + wrong + helpless
        assert "your own" in made["correct_answer"]


@given(
    st.integers(0, len(PREFERENCES) - 1),
    st.sampled_from(["self", "updated", "forget", "others"]),
    st.integers(0, 2**20),
)
def test_a_longer_place_is_never_a_shorter_option(index: int, case: str, seed: int) -> None:
    """Where the words do not allow the wanted place the nearest one is taken, so places follow the wish."""
    topic = world().topic(PREFERENCES[index].topic)
    changes: dict[str, Any] = {
        "self": {},
        "updated": {"previous": next(p.text for p in topic.preferences if p != PREFERENCES[index])},
        "forget": {"pref_type": "ask_to_forget"},
        "others": {"who": "others"},
    }[case]
    places = []
    for wanted in questions.PLACES:
        made = questions.question(brief(index, right_length=wanted, **changes), random.Random(seed))
        assert len({made["correct_answer"], *made["incorrect_answers"]}) == 4
        places.append(sum(place_of(made)))
    assert places == sorted(places)


def test_over_the_world_neither_the_longest_nor_the_shortest_option_is_a_good_guess() -> None:
    draw = random.Random(0)
    scores = {"shortest": 0.0, "longest": 0.0}
    for index in range(len(PREFERENCES)):
        for wanted in questions.PLACES:
            first, last = place_of(questions.question(brief(index, right_length=wanted), draw))
            scores["shortest"] += (first == 0) / (last - first + 1)
            scores["longest"] += (last == 3) / (last - first + 1)
    assert all(score / (4 * len(PREFERENCES)) < 0.3 for score in scores.values()), scores


def test_an_impossible_brief_is_an_error() -> None:
    with pytest.raises(KeyError, match="tiny"):
        questions.question(brief(right_length="tiny"), random.Random(0))


def test_no_new_words() -> None:
    known = {piece.strip("▁") for piece, _ in json.loads(VOCABULARY.read_text())["model"]["vocab"]}
    texts = [*say.OPTION_FRAMES, *say.BACKGROUND_FRAMES, *say.SENSITIVE.values()]
    texts += [*say.SENSITIVE_RIGHT, *say.SENSITIVE_VALUE, *say.SENSITIVE_HELPLESS]
    words = {word for text in texts for word in re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", "", text))}
    assert words - known - SPELLED == set()


@pytest.mark.parametrize(
    "frame", sorted({f for table in (say.REVEALS, say.UPDATES) for fs in table.values() for f in fs})
)
def test_a_cue_is_found_inside_a_long_text(frame: str) -> None:
    preference, old = PREFERENCES[3], PREFERENCES[4]
    for cue in (*preference.cues, preference.unseen):
        core = frame.format(cue=cue, old=old.cues[0])
        text = f"{LONG}\n\n{core} {LONG}"
        assert reader.known_preferences([{"role": "user", "content": text}]) == {preference.topic: preference.text}
        assert reader.known_preferences([{"role": "assistant", "content": text}]) == {}


@pytest.mark.parametrize("frame", sorted(say.OTHERS_REVEAL.values()))
def test_somebody_elses_words_inside_a_long_text_are_not_the_users(frame: str) -> None:
    theirs = frame.format(cue=PREFERENCES[3].cues[0], other="boss")
    assert reader.known_preferences([{"role": "user", "content": f"{LONG} {theirs}\n{LONG}"}]) == {}
    mine = f"I will bring my {PREFERENCES[40].cues[1]}."
    found = reader.known_preferences([{"role": "user", "content": f"{LONG} {theirs} {mine}"}])
    assert found == {PREFERENCES[40].topic: PREFERENCES[40].text}, "the user's own words beside them still are"


def test_a_request_to_forget_is_found_inside_a_long_text() -> None:
    preference = PREFERENCES[3]
    told = {"role": "user", "content": f"I found my {preference.cues[0]}."}
    request = say.FORGET_REQUEST.format(text=preference.text)
    assert reader.known_preferences([told, {"role": "user", "content": f"{LONG} {request} {LONG}"}]) == {}


def test_parts_of_words_are_no_cues() -> None:
    cue = next(cue for cue, _ in world().cues().items() if " " not in cue)
    for text in (f"my {cue}s", f"my un{cue}", f"the {cue}", cue):
        assert reader.known_preferences([{"role": "user", "content": text}]) == {}


def test_only_what_a_text_names_is_stated() -> None:
    draw, preference = random.Random(0), PREFERENCES[7]
    assert reader.state({"text": f"{LONG} I like {preference.text}."}, draw) == {"preference": preference.text}
    for cue in preference.cues:
        assert reader.state({"text": f"{LONG} I lost my {cue}."}, draw) == {"preference": ""}
    assert all(reader.state({"text": q}, draw) == {"preference": ""} for topic in world().topics for q in topic.queries)


def test_the_guesser_picks_what_stands_out_and_never_reads() -> None:
    options = {"a": "You could try chess", "b": "Flowers, perhaps", "c": "You could try poker", "d": "You could try go"}
    turns = [{"role": "user", "content": f"I found my {PREFERENCES[0].cues[0]}."}]
    for seed in range(20):
        for shown in ([], turns):
            assert guesser.choice({"options": options, "turns": shown}, random.Random(seed)) == {"answer": "b"}
    alike = options | {"b": "You could try bingo"}
    answers = Counter(guesser.choice({"options": alike}, random.Random(seed))["answer"] for seed in range(400))
    assert all(abs(count - 100) < 40 for count in answers.values()), answers
