"""Ideal memories follow the evidence, never run ahead of it, and note nothing that is not to be noted."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.chunking import chunk_messages
from personamem_pipeline.memory.episode import next_memory
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.prompts import EMPTY, open_answer, parse_choice, without_thinking
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.training.targets import (
    QUOTED,
    decidable,
    deciding_line,
    ideal_answer,
    ideal_memories,
    ideal_turns,
    ideal_write,
    memory_line,
    shortened,
    with_thought,
)
from tests.rooms import rooms

CONFIG = MemoryConfig(prompts="full", chunk_tokens=60, max_chunks=99, memory_tokens=200, answer_tokens=60)
THINKING = CONFIG.model_copy(update={"reasoning": True})
COMPACT = CONFIG.model_copy(update={"prompts": "compact"})


@cache
def finals() -> dict[str, str]:
    return {history.person_id: ideal_memories(history, [history.messages])[-1] for history in rooms().histories}


def reply(text: str) -> Generation:
    return Generation(prompt_ids=(), token_ids=(), text=text, finished=True)


def test_an_ideal_memory_holds_exactly_the_current_own_preferences() -> None:
    for persona, history in zip(rooms().personas, rooms().histories, strict=True):
        superseded = {p.replaces for p in persona.preferences}
        forgotten = {s.preference_id for s in history.sessions if s.event == "forgets"}
        noted = {
            memory_line(p.topic, p.text)
            for p in persona.preferences
            if p.who == "self"
            and p.pref_type != "sensitive_info"
            and p.preference_id not in superseded
            and p.preference_id not in forgotten
        }
        assert set(finals()[persona.person_id].splitlines()) - {EMPTY} == noted


def test_nothing_is_noted_before_its_evidence_was_read() -> None:
    for history in rooms().histories:
        chunks = [(message,) for message in history.messages]
        memories = ideal_memories(history, chunks)
        assert len(memories) == len(chunks)
        for session in history.sessions:
            if session.preference is None or session.event == "forgets":
                continue
            line = memory_line(session.preference.topic, session.preference.text)
            first = next((i for i, memory in enumerate(memories) if line in memory), None)
            if first is not None:
                read = {message.turn_id for chunk in chunks[: first + 1] for message in chunk}
                assert set(session.evidence) <= read


def test_private_values_are_never_in_a_target() -> None:
    for persona, history in zip(rooms().personas, rooms().histories, strict=True):
        secrets = [p.text for p in persona.preferences if p.pref_type == "sensitive_info"]
        targets = [ideal_write(turn, THINKING) for turn in ideal_turns(history, [history.messages])]
        assert not any(secret in target for secret in secrets for target in targets)


def test_an_ideal_answer_quotes_what_decides_it_and_chooses_the_right_option() -> None:
    for question in rooms().questions:
        options, letter = lettered(question, 0)
        known = finals()[question.person_id]
        for config in (CONFIG, COMPACT, THINKING):
            assert parse_choice(ideal_answer(config, question, known, options, letter), options) == letter
        line = deciding_line(question, known)
        assert decidable(question, known)
        assert ideal_answer(CONFIG, question, known, options, letter).startswith(line)
        for config in (CONFIG, THINKING):
            assert open_answer(ideal_answer(config, question, known, None, None)) == question.correct_answer


def test_an_answer_from_the_whole_chat_quotes_a_turn_of_its_evidence() -> None:
    histories = {history.person_id: history.messages for history in rooms().histories}
    for question in rooms().questions:
        options, letter = lettered(question, 0)
        known = histories[question.person_id]
        evidence = [message for message in known if message.turn_id in question.evidence]
        line = deciding_line(question, known)
        assert line == EMPTY or line in {f"{m.role}: {shortened(m.content)}" for m in evidence}
        for config in (CONFIG, COMPACT, THINKING):
            assert parse_choice(ideal_answer(config, question, known, options, letter), options) == letter


def test_a_question_without_its_evidence_cannot_be_decided() -> None:
    history = rooms().histories[0]
    question = next(
        q for q in rooms().questions if q.person_id == history.person_id and deciding_line(q, "anything") != EMPTY
    )
    assert not decidable(question, EMPTY)
    rest = [message for message in history.messages if message.turn_id not in question.evidence]
    assert decidable(question, history.messages) and not decidable(question, rest)
    with pytest.raises(UserError, match="evidence"):
        deciding_line(question, rest)


def test_thoughts_say_which_turn_gives_what_away_and_what_goes() -> None:
    seen = set()
    for history in rooms().histories:
        chunks = chunk_messages(history.messages, 60, lambda text: len(text.split()))
        turns = ideal_turns(history, chunks)
        for chunk, turn in zip(chunks, turns, strict=True):
            here = {message.turn_id for message in chunk}
            told = [s for s in history.sessions if s.preference is not None and set(s.evidence) <= here]
            for session in told:
                preference = session.preference
                assert preference is not None
                if preference.pref_type == "sensitive_info":
                    continue
                quoted = [f'"{shortened(m.content)}"' for m in chunk if m.turn_id in session.evidence]
                assert any(quote in turn.thought for quote in quoted)
                kind = "others" if preference.who == "others" else session.event
                seen.add(kind)
                words = {
                    "others": "about somebody else",
                    "forgets": f"asks to forget {preference.text}",
                    "updates": "which replaces",
                    "reveals": f"shows {preference.topic}: {preference.text}",
                }[kind]
                assert words in turn.thought
    assert seen == {"others", "forgets", "updates", "reveals"}


def test_no_memory_keeps_a_thought() -> None:
    for history in rooms().histories:
        chunks = chunk_messages(history.messages, 60, lambda text: len(text.split()))
        for turn in ideal_turns(history, chunks):
            assert "<think>" in ideal_write(turn, THINKING)
            assert next_memory(turn.before, reply(ideal_write(turn, THINKING))) == next_memory(
                turn.before, reply(ideal_write(turn, CONFIG))
            )


@given(thought=st.text(max_size=60) | st.sampled_from(["</think>- a: b<think>", "<thi<think>nk>", "</think>"]))
def test_a_thought_can_quote_anything(thought: str) -> None:
    assert without_thinking(with_thought(thought, "- drinks: tea")).strip() == "- drinks: tea"


@given(text=st.text(max_size=400))
def test_a_quote_is_one_short_line(text: str) -> None:
    quote = shortened(text)
    assert len(quote.splitlines()) <= 1
    assert len(quote) <= QUOTED + len(" ...")
