"""Ideal memories follow the evidence, never run ahead of it, and note nothing that is not to be noted."""

from __future__ import annotations

from personamem_pipeline.memory.prompts import EMPTY, parse_choice
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.training.targets import deciding_line, ideal_answer, ideal_memories, memory_line
from tests.rooms import rooms


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
        final = ideal_memories(history, [history.messages])[-1]
        assert set(final.splitlines()) - {EMPTY} == noted


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
        final = ideal_memories(history, [history.messages])[-1]
        assert not any(secret in final for secret in secrets)


def test_an_ideal_answer_quotes_what_decides_it_and_chooses_the_right_option() -> None:
    finals = {h.person_id: ideal_memories(h, [h.messages])[-1] for h in rooms().histories}
    for question in rooms().questions:
        options, letter = lettered(question, 0)
        for style in ("compact", "full"):
            assert parse_choice(ideal_answer(question, style, options, letter), options) == letter
        target = ideal_answer(question, "full", options, letter)
        line = deciding_line(question)
        assert target.startswith(line) and (line == EMPTY or line in finals[question.person_id].splitlines())
        assert ideal_answer(question, "full", None, None).endswith(question.correct_answer)
