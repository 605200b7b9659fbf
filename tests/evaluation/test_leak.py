"""The leak probe: silent where memories are causal, and loud for every way in which a question could get through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation import leak
from personamem_pipeline.evaluation.leak import MARKER, TEXTS, VARIANTS, Remembering, probe
from personamem_pipeline.evaluation.records import MemoryStep, Outputs
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import Named, batch_seed, write
from personamem_pipeline.evaluation.systems.context import NoHistory
from personamem_pipeline.evaluation.systems.memory import MemorySystem, Oracle
from personamem_pipeline.evaluation.systems.query_aware import QueryAware
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.seeds import digest
from tests.evaluation.conftest import reader

NAMED = Named("grpo", "GRPO", "model", open=True)


def writer(skill: float) -> ScriptedGenerator:
    """Writes as the reader of the other tests; answers nothing, for some questions are no questions here."""
    write = reader(skill)
    return ScriptedGenerator(lambda prompt: write(prompt) if prompt.startswith("What does the user like?") else "none")


@pytest.fixture
def batch(source: Source) -> Batch:
    return next(source.batches())


@pytest.mark.parametrize("system", [MemorySystem, Oracle])
def test_a_causal_system_passes(system: type[MemorySystem], batch: Batch, memory: MemoryConfig) -> None:
    found = probe(lambda: system(NAMED, writer(0.8), memory), batch)
    assert found == {
        "system": "grpo", "people": 3, "variants": ["blank", "swapped", "poisoned"], "equal": True,
        "steps": len(system(NAMED, writer(0.8), memory).run(batch).steps), "digest": found["digest"],
        "first_difference": None,
    }  # fmt: skip
    assert found["digest"] == probe(lambda: system(NAMED, writer(0.8), memory), batch)["digest"]
    assert found["digest"] != probe(lambda: system(NAMED, writer(0.2), memory), batch)["digest"]


def test_query_aware_writing_is_found_even_if_the_model_heeds_no_question(batch: Batch, memory: MemoryConfig) -> None:
    deaf = ScriptedGenerator(lambda prompt: "- drinks: green tea")
    found = probe(lambda: QueryAware(NAMED, deaf, memory), batch)
    assert found["equal"] is False
    first = found["first_difference"]
    assert (first["variant"], first["field"], first["index"]) == ("blank", "input_tokens", 0)
    assert first["before"] > first["after"]


def leaking(tell: Callable[[Batch], Mapping[str, str]]) -> type[MemorySystem]:
    """A memory system in which `tell` says what of the questions reaches each person's first message."""

    class Leaking(MemorySystem):
        def run(self, batch: Batch) -> Outputs:
            told = tell(batch)
            people = []
            for person in batch.people:
                first, *rest = person.history.sessions
                message = first.messages[0]
                content = f"{message.content} {told[person.person_id]}"
                messages = (message.model_copy(update={"content": content}), *first.messages[1:])
                sessions = (first.model_copy(update={"messages": messages}), *rest)
                people.append(replace(person, history=person.history.model_copy(update={"sessions": sessions})))
            return super().run(replace(batch, people=tuple(people)))

    return Leaking


def noting(prompt: str) -> str:
    """A writer that notes every word and obeys orders: what is told to it shows somewhere."""
    return "\n".join(f"- note: {word}" for word in prompt.split()) + (f"\n{MARKER}" if MARKER in prompt else "")


@pytest.mark.parametrize("field", TEXTS)
def test_a_leak_of_any_text_of_a_question_is_found(field: str, batch: Batch, memory: MemoryConfig) -> None:
    def tell(batch: Batch) -> Mapping[str, str]:
        return {person.person_id: str(getattr(person.questions[-1], field)) for person in batch.people}

    found = probe(lambda: leaking(tell)(NAMED, ScriptedGenerator(noting), memory), batch)
    assert found["equal"] is False
    assert found["first_difference"]["variant"] == "blank"


def test_a_leak_that_only_another_question_shows_is_found_by_swapping(batch: Batch, memory: MemoryConfig) -> None:
    # What is told stays the same where the question has no words, and where an order is added to them.
    usual = {person.person_id: likes(person.questions[0].preference) for person in batch.people}

    def tell(batch: Batch) -> Mapping[str, str]:
        now = {person.person_id: likes(person.questions[0].preference) for person in batch.people}
        return {person: told or usual[person] for person, told in now.items()}

    found = probe(lambda: leaking(tell)(NAMED, ScriptedGenerator(noting), memory), batch)
    assert found["equal"] is False
    assert (found["first_difference"]["variant"], found["first_difference"]["field"]) == ("swapped", "memory")


def likes(preference: str) -> str:
    return " ".join(preference.split()[:2])


def test_an_order_that_is_obeyed_is_found_by_poisoning(batch: Batch, memory: MemoryConfig) -> None:
    def tell(batch: Batch) -> Mapping[str, str]:
        return {
            person.person_id: MARKER if MARKER in person.questions[-1].user_query else "nothing"
            for person in batch.people
        }

    found = probe(lambda: leaking(tell)(NAMED, ScriptedGenerator(noting), memory), batch)
    assert found["first_difference"]["variant"] == "poisoned"


def test_write_turns_that_come_or_go_are_found(batch: Batch, memory: MemoryConfig) -> None:
    class Skipping(MemorySystem):
        def run(self, batch: Batch) -> Outputs:
            outputs = super().run(batch)
            return outputs if batch.questions[0].user_query else outputs.model_copy(update={"steps": outputs.steps[1:]})

    first = probe(lambda: Skipping(NAMED, writer(1.0), memory), batch)["first_difference"]
    assert first["field"] == "write turns"
    assert first["before"] == first["after"] + 1


def test_an_engine_that_does_not_repeat_itself_is_no_leak(batch: Batch, memory: MemoryConfig) -> None:
    """Behind `Remembering` the same prompt has the same reply, so only other prompts can show."""
    calls: list[int] = []

    def reply(prompt: str) -> str:
        calls.append(1)
        return f"- call: {len(calls)}"

    unsteady = ScriptedGenerator(reply)
    assert probe(lambda: MemorySystem(NAMED, unsteady, memory), batch)["equal"] is False
    steady = Remembering(unsteady)
    assert probe(lambda: MemorySystem(NAMED, steady, memory), batch)["equal"] is True
    assert steady.tokens[0] > 0
    seeing = Remembering(unsteady)
    assert probe(lambda: QueryAware(NAMED, seeing, memory), batch)["equal"] is False


def test_variants_change_every_question_and_nothing_else(batch: Batch) -> None:
    for change in VARIANTS.values():
        changed = change(batch)
        for person, own in zip(batch.people, changed.people, strict=True):
            assert own.history == person.history
            for before, after in zip(person.questions, own.questions, strict=True):
                differing = {
                    name for name in type(before).model_fields if getattr(before, name) != getattr(after, name)
                }
                assert differing <= set(TEXTS)
                assert "user_query" in differing
    assert not any(getattr(question, name) for question in leak.blank(batch).questions for name in TEXTS[:2])
    assert all(MARKER in text for question in leak.poisoned(batch).questions for text in question.options)


def test_a_system_without_memories_cannot_pass_by_having_none(batch: Batch, memory: MemoryConfig) -> None:
    with pytest.raises(UserError, match="wrote none"):
        probe(lambda: NoHistory(NAMED, writer(1.0), memory), batch)
    alone = replace(batch, people=batch.people[:1])
    with pytest.raises(UserError, match="leak_people"):
        probe(lambda: MemorySystem(NAMED, writer(1.0), memory), alone)


def test_the_digest_is_of_what_the_evaluation_writes(batch: Batch, memory: MemoryConfig) -> None:
    histories = {person.person_id: person.history.messages for person in batch.people}
    steps: tuple[MemoryStep, ...] = write(histories, writer(1.0), memory, batch_seed(batch))
    found = probe(lambda: MemorySystem(NAMED, writer(1.0), memory), batch)
    assert found["digest"] == digest([step.model_dump(mode="json") for step in steps])
