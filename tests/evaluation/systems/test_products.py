"""Products under test: fed in order, kept apart, cleaned up; and mem0's own package where it is installed."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import asked, pairs
from personamem_pipeline.evaluation.records import Outputs
from personamem_pipeline.evaluation.scoring.answers import answer_key, answers
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import Named
from personamem_pipeline.evaluation.systems.mem0 import Extractor, Mem0, mem0_product
from personamem_pipeline.evaluation.systems.products import Added, AnsweringProduct, SearchedProduct
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import MemoryConfig, RetrievalConfig
from personamem_pipeline.records import Message

Model = Callable[[float], ScriptedGenerator]
NAMED = Named("notes", "notes", "external")


@dataclass
class Notes:
    """A product that keeps what users say, word for word, and notes every call."""

    counted: bool = True
    kept: dict[str, list[str]] = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    told: dict[str, list[str]] = field(default_factory=dict)
    fail: bool = False

    def add(self, subject: str, messages: Sequence[Message]) -> Added | None:
        self.calls.append(("add", subject))
        self.told.setdefault(subject, []).extend(message.turn_id for message in messages)
        said = [message.content for message in messages if message.role == "user"]
        self.kept.setdefault(subject, []).extend(said)
        return Added(tuple(said), input_tokens=10, output_tokens=2) if self.counted else None

    def remove(self, subject: str) -> None:
        self.calls.append(("remove", subject))
        self.kept.pop(subject, None)

    def search(self, subject: str, query: str) -> Sequence[str]:
        self.calls.append(("search", subject, query))
        if self.fail:
            raise ConnectionError("gone")
        topic = query.split()[1]
        return [text for text in self.kept[subject] if topic in text]

    def answer(self, subject: str, query: str, options: Mapping[str, str] | None) -> str:
        text = " ".join(self.search(subject, query))
        likes = [letter for letter, option in (options or {}).items() if option[14:-1] in text]
        forgotten = "forget" in text
        generic = [letter for letter, option in (options or {}).items() if "something new" in option]
        return f"\\boxed{{{(generic if forgotten else likes)[0]}}}" if options else f"Maybe: {text}"


def run(source: Source, system: SearchedProduct | AnsweringProduct) -> list[Outputs]:
    return [system.run(batch) for batch in source.batches()]


def accuracy(source: Source, outputs: Sequence[Outputs], moment: str) -> float:
    found = answers("x", answer_key(source), [reply for own in outputs for reply in own.replies])
    marks = [answer.correct for answer in found if answer.moment == moment]
    return sum(marks) / len(marks)


def reads(prompt: str) -> str:
    """Picks what the notes in a compact prompt say."""
    topic = prompt.partition("Which fits? Which ")[2].split()[0]
    lines = [line for line in prompt.splitlines() if line.startswith("- ") and topic in line]
    told = "something new" if any("forget" in line for line in lines) else lines[0].split(" is ")[1].partition(" as")[0]
    letter = next(line for line in prompt.splitlines() if told in line and line[-1] == ")")[-2]
    return f"x\n\\boxed{{{letter}}}"


@pytest.fixture
def searched(memory: MemoryConfig) -> Callable[..., SearchedProduct]:
    return lambda notes: SearchedProduct(NAMED, ScriptedGenerator(reads), memory, notes)


def test_a_searched_product_is_answered_from(source: Source, searched: Callable[..., SearchedProduct]) -> None:
    outputs = run(source, searched(Notes()))
    assert accuracy(source, outputs, "end") == 1.0 and accuracy(source, outputs, "before_forget") == 1.0
    people = [step.subject for own in outputs for step in own.steps]
    assert people == sorted(source.by_person)
    step = outputs[0].steps[0]
    assert (step.input_tokens, step.output_tokens, step.kept) == (50, 10, "") and step.memory.count("\n") == 4
    assert step.memory_tokens == len(step.memory.split()) and len(step.turns) == 10


def test_an_answering_product_is_asked_itself(source: Source) -> None:
    system = AnsweringProduct(Named("notes", "notes", "external", open=True), Notes())
    outputs = run(source, system)
    assert accuracy(source, outputs, "end") == 1.0 and accuracy(source, outputs, "before_forget") == 1.0
    opened = [reply for own in outputs for reply in own.replies if reply.order is None]
    assert len(opened) == 32 and opened[0].output.startswith("Maybe: My drinks")
    assert not any(own.steps for own in outputs) and (system.name, system.role) == ("notes", "external")


def test_everybody_is_told_their_own_history_in_order_before_anything_is_asked(
    source: Source, searched: Callable[..., SearchedProduct]
) -> None:
    notes = Notes()
    run(source, searched(notes))
    for person in source.people():
        assert notes.told[person.person_id] == [message.turn_id for message in person.history.messages]
        own = [call[0] for call in notes.calls if call[1] == person.person_id]
        assert own == ["remove", *["add"] * 5, *["search"] * 4, "remove"]
    first = {question.person_id: messages for question, messages in pairs(source.people())}
    for person, messages in first.items():
        assert notes.told[f"{person}-first-{len(messages)}"] == [message.turn_id for message in messages]
    assert notes.kept == {}  # nobody is left


def test_a_search_sees_the_query_and_nothing_else(source: Source, searched: Callable[..., SearchedProduct]) -> None:
    notes = Notes()
    run(source, searched(notes))
    assert {call[2] for call in notes.calls if call[0] == "search"} == {q.user_query for q in source.questions}


def test_a_product_that_fails_is_cleaned_up_and_not_excused(
    source: Source, searched: Callable[..., SearchedProduct]
) -> None:
    notes = Notes(fail=True)
    for system in (searched(notes), AnsweringProduct(NAMED, notes)):
        with pytest.raises(ConnectionError):
            system.run(next(source.batches()))
        assert notes.kept == {} and notes.calls[-1] == ("remove", "b000")


def test_what_a_product_does_not_count_is_not_counted(source: Source, searched: Callable[..., SearchedProduct]) -> None:
    assert searched(Notes(counted=False)).run(next(source.batches())).steps == ()


@pytest.mark.parametrize("found", ["a text", [1, 2], [None]])
def test_a_search_that_gives_something_else_is_refused(
    source: Source, searched: Callable[..., SearchedProduct], found: object
) -> None:
    notes = Notes()
    notes.search = lambda subject, query: found  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(UserError, match="`search` gave something else"):
        searched(notes).run(next(source.batches()))


def test_nothing_found_and_many_lines_found(source: Source, memory: MemoryConfig) -> None:
    notes = Notes()
    notes.search = lambda subject, query: ["two\nlines", "", "two lines"]  # type: ignore[method-assign]
    generator = ScriptedGenerator(lambda _: "x\n\\boxed{a}")
    SearchedProduct(NAMED, generator, memory, notes).run(next(source.batches()))
    assert generator.prompts[0].startswith("List:\n- two lines\nWhich fits?")
    notes.search = lambda subject, query: []  # type: ignore[method-assign]
    SearchedProduct(NAMED, generator, memory, notes).run(next(source.batches()))
    assert generator.prompts[-1].startswith("List:\nnone\nWhich fits?")


# mem0.


class Words:
    """Texts as bags of hashed words: enough of an embedder to find what shares words, without a model."""

    name = "words"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = np.full((len(texts), 64), 0.01, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace("?", " ").replace(".", " ").split():
                row[hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection is an error."""

    def refuse(*_: object) -> None:
        raise AssertionError("mem0 went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def mem0_of(generator: ScriptedGenerator, memory: MemoryConfig, top: int = 10) -> SearchedProduct:
    pytest.importorskip("mem0")
    return mem0_product(Named("mem0", "mem0", "external"), generator, memory, RetrievalConfig(top=top), Words())


def test_mem0_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, memory: MemoryConfig) -> None:
    monkeypatch.setitem(sys.modules, "mem0", None)
    monkeypatch.delitem(sys.modules, "mem0.memory", raising=False)
    with pytest.raises(UserError, match="mem0 cannot be imported") as caught:
        mem0_product(NAMED, ScriptedGenerator(reads), memory, RetrievalConfig(), Words())
    assert "pip install mem0ai==2.2.1" in caught.value.remedy
    with pytest.raises(UserError, match="was not handed over"):
        mem0_product(NAMED, ScriptedGenerator(reads), memory, RetrievalConfig(embedder="big-model"))


@pytest.mark.usefixtures("offline")
def test_mem0_searches_raw_turns_offline(source: Source, memory: MemoryConfig) -> None:
    source = replace(source, questions=source.questions[:8])
    system = mem0_of(ScriptedGenerator(reads), memory)
    assert system.label == "mem0 (raw turns)"
    outputs = run(source, system)
    assert accuracy(source, outputs, "end") == 1.0 and accuracy(source, outputs, "before_forget") == 1.0
    assert not any(own.steps for own in outputs)
    again = run(source, mem0_of(ScriptedGenerator(reads), memory))
    assert [own.replies for own in again] == [own.replies for own in outputs]


@pytest.mark.usefixtures("offline")
def test_mem0_keeps_people_apart_and_removes_them(source: Source, memory: MemoryConfig) -> None:
    product = mem0_of(ScriptedGenerator(reads), memory, top=3).product
    people = list(source.people())[:2]
    for person in people:
        product.add(person.person_id, person.history.messages)
    said = {person.person_id: {message.content for message in person.history.messages} for person in people}
    for person in people:
        found = product.search(person.person_id, "Which drinks today?")
        assert found and set(found) <= said[person.person_id]
    product.remove("b000")
    assert product.search("b000", "Which drinks today?") == [] and product.search("b001", " ") == []
    assert product.search("b001", "Which drinks today?")
    product.remove("b000")  # gone already


@pytest.mark.usefixtures("offline")
def test_mem0_extracts_with_the_model_under_test_and_its_tokens_count(source: Source, memory: MemoryConfig) -> None:
    def extracts(prompt: str) -> str:
        new = prompt.rpartition("## New Messages")[2]
        topic = next((word for word in ("drinks", "music", "sports", "books") if word in new), "nothing")
        return f'<think>hm</think>```json\n{{"memory": [{{"text": "The user told of {topic}"}}]}}\n```'

    full = memory.model_copy(update={"prompts": "full"})
    generator = ScriptedGenerator(extracts)
    system = mem0_of(generator, full)
    assert system.label == "mem0"
    one = Batch(0, tuple(source.people())[:1], orders=1, seed=0)
    outputs = system.run(one)
    (step,) = outputs.steps
    assert step.memory.splitlines() == [
        f"- The user told of {topic}" for topic in ("drinks", "music", "sports", "books")
    ]
    extraction = [prompt for prompt in generator.prompts if "## New Messages" in prompt]
    assert len(extraction) == 5 + 4  # once more for what was known before the request to forget
    assert step.input_tokens == sum(len(prompt.split()) for prompt in extraction[:5]) > 5 * 3000
    assert step.output_tokens > 0 and len(outputs.replies) == len(asked(one)) + 1


def test_mem0_says_so_when_its_prompt_does_not_fit(memory: MemoryConfig) -> None:
    pytest.importorskip("mem0")
    product = Mem0(Words(), 10, Extractor(ScriptedGenerator(reads, context=2048), 200))
    product.prepare()
    message = Message(turn_id="t", role="user", content="My drinks is green tea.")
    with pytest.raises(UserError, match="mem0's extraction prompt has"):
        product.add("b000", [message])


def test_mem0_leaves_no_telemetry_on_and_no_directory_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mem0")
    from mem0.memory import telemetry

    monkeypatch.setenv("MEM0_DIR", str(tmp_path / "mine"))
    Mem0(Words(), 10).prepare()
    assert telemetry.MEM0_TELEMETRY is False and telemetry.client_telemetry.posthog is None
    assert os.environ["MEM0_DIR"] == str(tmp_path / "mine") and not (tmp_path / "mine").exists()
    monkeypatch.setattr(telemetry, "MEM0_TELEMETRY", True)
    with pytest.raises(UserError, match="with its telemetry on"):
        Mem0(Words(), 10).prepare()
