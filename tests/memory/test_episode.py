"""The episode loop: causal, ordered, and never left with half a memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.memory.chunking import render_messages
from personamem_pipeline.memory.episode import (
    answer,
    final_memory,
    known_after,
    plan_chunks,
    read_chunks,
    write_memories,
)
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message

CONFIG = MemoryConfig(prompts="compact", chunk_tokens=6, max_chunks=9, memory_tokens=6, answer_tokens=9)


def chat(*contents: str) -> list[Message]:
    return [Message(turn_id=f"t{i}", role="user", content=text) for i, text in enumerate(contents)]


def last_word(prompt: str) -> str:
    return "- " + prompt.split("\nOld list:")[0].split()[-1]


def test_each_prompt_holds_the_memory_before_it_and_its_own_chunk() -> None:
    turns = write_memories([chat("one two three", "four five six")], ScriptedGenerator(last_word), CONFIG)[0]
    assert [turn.memory for turn in turns] == ["- three", "- six"]
    assert "none" in turns[0].prompt and "- three" in turns[1].prompt and "one" not in turns[1].prompt


def test_an_unfinished_or_empty_reply_keeps_the_previous_memory() -> None:
    replies = iter(["- kept", "- this one is really far too long", "   ", "none"])
    generator = ScriptedGenerator(lambda prompt: next(replies))
    turns = write_memories([chat("a a a", "b b b", "c c c", "d d d")], generator, CONFIG)[0]
    assert [(turn.memory, turn.kept) for turn in turns] == [
        ("- kept", ""),
        ("- kept", "unfinished"),
        ("- kept", "empty"),
        ("", ""),
    ]


@settings(max_examples=30)
@given(st.lists(st.lists(st.text(alphabet="xyz", min_size=1, max_size=8), max_size=6), min_size=1, max_size=4))
def test_reading_together_is_reading_alone(texts: list[list[str]]) -> None:
    together = write_memories([chat(*own) for own in texts], ScriptedGenerator(last_word), CONFIG)
    for own, turns in zip(texts, together, strict=True):
        assert turns == write_memories([chat(*own)], ScriptedGenerator(last_word), CONFIG)[0]


@given(query=st.text(alphabet="ABCDEF", min_size=6), option=st.text(alphabet="GHIJKL", min_size=6))
def test_no_query_reaches_a_writing_prompt(query: str, option: str) -> None:
    """Promise 1: the memory is the same whatever will be asked, because the writer is done before the question."""
    generator = ScriptedGenerator(last_word)
    memory = final_memory(write_memories([chat("one two", "three four")], generator, CONFIG)[0])
    written = list(generator.prompts)
    answer([memory], [query], [{"a": option}], generator, CONFIG)
    assert all(query not in prompt and option not in prompt for prompt in written)
    assert query in generator.prompts[-1] and option in generator.prompts[-1]


def test_nothing_to_read_gives_nothing() -> None:
    assert final_memory(write_memories([[]], ScriptedGenerator(last_word), CONFIG)[0]) == ""


def test_a_memory_says_a_thing_once() -> None:
    generator = ScriptedGenerator(lambda prompt: "- a\n\n- a\n- b")
    assert final_memory(write_memories([chat("one")], generator, CONFIG)[0]) == "- a\n- b"


def test_under_full_context_nothing_is_written_and_the_chat_itself_is_known() -> None:
    config, generator = CONFIG.model_copy(update={"protocol": "full_context"}), ScriptedGenerator(last_word)
    messages = chat("one two three", "four five six", "seven")
    assert plan_chunks(messages, generator, config) == []
    (turns,) = write_memories([messages], generator, config)
    assert turns == [] and generator.prompts == []
    known = known_after(turns, messages, config)
    answer([known], ["q?"], [None], generator, config)
    assert render_messages(messages) in generator.prompts[0]


def test_what_is_known_after_reading_is_the_last_memory() -> None:
    messages = chat("one two three", "four five six")
    (turns,) = write_memories([messages], ScriptedGenerator(last_word), CONFIG)
    assert known_after(turns, messages, CONFIG) == "- six"
    assert known_after([], [], CONFIG) == ""


def test_a_caller_that_stops_asking_stops_the_model() -> None:
    generator = ScriptedGenerator(last_word)
    turns = read_chunks([chat("a a a", "b b b", "c c c")], generator, CONFIG)
    next(turns)
    assert len(generator.prompts) == 1
