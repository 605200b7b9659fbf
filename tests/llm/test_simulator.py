"""The simulator is honest: what it writes can be read back, what it flags is needed, and its editions never mix."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from personamem_pipeline.llm.simulator import questions, reader, sessions, textbook
from personamem_pipeline.llm.simulator.app import MODEL, complete
from personamem_pipeline.llm.simulator.world import WorldPreference, world
from personamem_pipeline.memory.prompts import answer_prompt, write_prompt
from personamem_pipeline.presets import load_preset
from personamem_pipeline.records import CONVERSATION_TYPES

PREFERENCES = world().preferences
COMPACT = load_preset("demo").memory


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
        "model": MODEL,
        "seed": seed,
        "messages": [{"role": "user", "content": f"Brief:\n{json.dumps(given)}"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": task}},
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


def test_the_same_request_has_the_same_answer_and_another_seed_another() -> None:
    given = brief(PREFERENCES[0])
    assert complete(body("session", given)) == complete(body("session", given))
    answers = {complete(body("session", given, seed))["choices"][0]["message"]["content"] for seed in range(8)}
    assert len(answers) > 1


def test_it_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"answers the tasks .* not .poem"):
        complete(body("poem", {}))
    with pytest.raises(ValueError, match="Brief:"):
        complete(body("session", {}) | {"messages": [{"role": "user", "content": "hello"}]})


def test_the_textbook_is_worded_as_the_compact_prompts_are() -> None:
    """The simulator may not know the memory room, so the two are written apart and held together here."""
    for row in textbook.exercises(400, seed=0):
        if row["kind"] == "suggest":
            listed, _, query = row["prompt"].removeprefix("List:\n").partition("\nWhich fits? ")
            assert row["prompt"] == answer_prompt(COMPACT, listed, query, None)
        elif row["kind"] == "decide":
            listed, _, rest = row["prompt"].removeprefix("List:\n").partition("\nWhich fits? ")
            query, *shown = rest.split("\n")
            options = {line[-2]: line[:-4] for line in shown}
            assert row["prompt"] == answer_prompt(COMPACT, listed, query, options)
        elif row["kind"] == "who_likes":
            assert write_prompt(COMPACT, [], "").startswith(row["prompt"].splitlines()[0])
        elif row["kind"] == "merge":
            _, _, old = row["prompt"].partition("Old list:\n")
            assert write_prompt(COMPACT, [], old.removesuffix("\nMerge.")).endswith(f"Old list:\n{old}")
