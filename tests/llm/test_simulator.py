"""The simulator is honest: what it writes can be read back, what it flags is needed, and its editions never mix."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from personamem_pipeline.llm.simulator import persons, questions, reader, sessions, textbook
from personamem_pipeline.llm.simulator.app import complete
from personamem_pipeline.llm.simulator.world import WorldPreference, world
from personamem_pipeline.memory.prompts import answer_prompt, write_prompt
from personamem_pipeline.records import CONVERSATION_TYPES

PREFERENCES = world().preferences


def brief(preference: WorldPreference, event: str = "reveals", **changes: str) -> dict[str, Any]:
    values = {
        "event": event,
        "conversation_type": "chat_message",
        "pref_type": "neutral_preferences",
        "topic": preference.topic,
        "preference": preference.text,
        "previous": "",
        "who": "self",
        "wording": "seen",
        "edition": "training",
    }
    return values | changes


def body(task: str, given: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    return {
        "seed": seed,
        "messages": [{"role": "user", "content": f"Brief:\n{json.dumps(given)}"}],
        "response_format": {"json_schema": {"name": task}},
    }


@pytest.mark.parametrize("kind", CONVERSATION_TYPES)
@pytest.mark.parametrize("edition", ["training", "benchmark"])
def test_the_evidence_alone_gives_the_preference_away(kind: str, edition: str) -> None:
    draw = random.Random(0)
    for preference in draw.sample(PREFERENCES, 80):
        wording = "unseen" if edition == "benchmark" and draw.random() < 0.5 else "seen"
        given = brief(preference, conversation_type=kind, edition=edition, wording=wording)
        messages = sessions.session(given, draw)["messages"]
        evidence = [message for message in messages if message["evidence"]]
        assert reader.known_preferences(evidence) == {preference.topic: preference.text}, evidence
        rest = [message for message in messages if not message["evidence"]]
        assert reader.known_preferences(rest) == {}, "chatter and small talk say nothing about the user"


@pytest.mark.parametrize("kind", CONVERSATION_TYPES)
def test_what_belongs_to_others_is_not_the_users(kind: str) -> None:
    draw = random.Random(0)
    for preference in draw.sample(PREFERENCES, 40):
        messages = sessions.session(brief(preference, conversation_type=kind, who="others"), draw)["messages"]
        assert any(cue in messages[0]["content"] for cue in preference.cues)
        assert reader.known_preferences(messages) == {}


@pytest.mark.parametrize("kind", CONVERSATION_TYPES)
def test_an_update_entails_the_change(kind: str) -> None:
    draw = random.Random(0)
    for preference in draw.sample(PREFERENCES, 40):
        old = draw.choice([p for p in world().topic(preference.topic).preferences if p != preference])
        given = brief(preference, "updates", conversation_type=kind, previous=old.text)
        messages = sessions.session(given, draw)["messages"]
        assert reader.known_preferences(messages) == {preference.topic: preference.text}


def test_what_was_forgotten_is_not_known() -> None:
    draw = random.Random(0)
    preference = PREFERENCES[0]
    revealed = sessions.session(brief(preference), draw)["messages"]
    forgotten = sessions.session(brief(preference, "forgets"), draw)["messages"]
    assert reader.known_preferences(revealed) == {preference.topic: preference.text}
    assert reader.known_preferences(revealed + forgotten) == {}
    assert [message["role"] for message in forgotten if message["evidence"]] == ["user"]


def test_editions_share_no_sentence_and_no_query_for_a_preference() -> None:
    draw = random.Random(0)
    preference = PREFERENCES[5]
    sentences: dict[str, set[str]] = {"training": set(), "benchmark": set()}
    queries: dict[str, set[str]] = {"training": set(), "benchmark": set()}
    for edition in sentences:
        for _ in range(300):
            given = brief(preference, edition=edition) | {"profile": {"groups": "young"}}
            sentences[edition].add(sessions.session(given, draw)["messages"][0]["content"])
            queries[edition].add(questions.question(given, draw)["user_query"])
    assert (len(sentences["training"]), len(sentences["benchmark"])) == (12, 4)
    assert (len(queries["training"]), len(queries["benchmark"])) == (4, 1)
    assert not sentences["training"] & sentences["benchmark"]
    assert not queries["training"] & queries["benchmark"]


def wanted(pref_type: str, updated: bool = False) -> list[dict[str, Any]]:
    return [{"pref_type": pref_type, "who": "self", "updated": updated}]


@pytest.mark.parametrize("updated", [False, True])
def test_a_type_is_what_it_says_even_after_a_change(updated: bool) -> None:
    by_text = {preference.text: preference for preference in PREFERENCES}
    person = "A young office worker from the city."
    for seed in range(40):
        for pref_type, fits in (
            ("stereotypical_pref", lambda tags: bool(tags & {"young", "office", "city"})),
            ("anti_stereotypical_pref", lambda tags: bool(tags) and not tags & {"young", "office", "city"}),
        ):
            given = {"seed_persona": person, "wanted": wanted(pref_type, updated)}
            item = persons.persona(given, random.Random(seed))["preferences"][0]
            texts = [text for text in (item["text"], item["changes_to"]) if text]
            assert len(texts) == 1 + updated
            assert all(fits(set(by_text[text].typical_of)) for text in texts)
            assert len({by_text[text].topic for text in texts}) == 1


def test_a_sentence_that_names_no_group_still_gives_a_person() -> None:
    given = {"seed_persona": "Somebody who collects maps", "wanted": wanted("stereotypical_pref")}
    person = persons.persona(given, random.Random(3))
    assert len(person["profile"]["groups"].split(", ")) == 2
    assert person["preferences"][0]["text"]


def test_an_impossible_person_is_an_error_that_says_why() -> None:
    given = {"seed_persona": "young", "wanted": wanted("therapy_background") * 2}
    with pytest.raises(ValueError, match="no therapy_background left"):
        persons.persona(given, random.Random(0))


def test_the_same_request_has_the_same_answer_and_another_seed_another() -> None:
    given = brief(PREFERENCES[0])
    assert complete(body("session", given)) == complete(body("session", given))
    answers = {complete(body("session", given, seed))["choices"][0]["message"]["content"] for seed in range(8)}
    assert len(answers) > 1


def test_it_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="named one of"):
        complete(body("poem", {}))
    with pytest.raises(ValueError, match="Brief:"):
        complete(body("session", {}) | {"messages": [{"role": "user", "content": "hello"}]})


@pytest.mark.parametrize(
    ("pref_type", "who", "answer", "score"),
    [
        ("neutral_preferences", "self", "You could try green tea.", 1.0),
        ("neutral_preferences", "self", "You could try water.", 0.0),
        ("neutral_preferences", "others", "You could try green tea.", 0.0),
        ("ask_to_forget", "self", "You could try water.", 1.0),
        ("ask_to_forget", "self", "", 0.0),
        ("ask_to_forget", "self", "How about Green tea?", 0.0),
    ],
)
def test_open_answers_are_judged(pref_type: str, who: str, answer: str, score: float) -> None:
    given = {"answer": answer, "preference": "green tea", "pref_type": pref_type, "who": who}
    assert reader.judgement(given, random.Random(0))["score"] == score


def test_the_textbook_is_worded_as_the_compact_prompts_are() -> None:
    """The simulator may not know the memory room, so the two are written apart and held together here."""
    for row in textbook.exercises(400, seed=0):
        if row["kind"] == "suggest":
            listed, _, query = row["prompt"].removeprefix("List:\n").partition("\nWhich fits? ")
            assert row["prompt"] == answer_prompt("compact", listed, query, None)
        elif row["kind"] == "decide":
            listed, _, rest = row["prompt"].removeprefix("List:\n").partition("\nWhich fits? ")
            query, *shown = rest.split("\n")
            options = {line[-2]: line[:-4] for line in shown}
            assert row["prompt"] == answer_prompt("compact", listed, query, options)
        elif row["kind"] == "who_likes":
            assert write_prompt("compact", [], "").startswith(row["prompt"].splitlines()[0])
        elif row["kind"] == "merge":
            _, _, old = row["prompt"].partition("Old list:\n")
            assert write_prompt("compact", [], old.removesuffix("\nMerge.")).endswith(f"Old list:\n{old}")
