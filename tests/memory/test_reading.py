"""Reading one chat: what changed in the memory is told turn by turn, as it happens."""

from __future__ import annotations

from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.memory.reading import read_chat
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message

CONFIG = MemoryConfig(prompts="compact", chunk_tokens=6, max_chunks=1, memory_tokens=8, answer_tokens=9)
CHAT = [Message(turn_id=f"m{i:04d}", role="user", content=text) for i, text in enumerate(["a b c", "d e f", "g h i"])]


def test_new_kept_and_dropped_lines() -> None:
    replies = iter(["- drinks: tea\n- pets: cat", "- pets: cat\n- far: too long to ever be kept", "Sure!\n- pets: cat"])
    first, second, third = read_chat(CHAT, ScriptedGenerator(lambda prompt: next(replies)), CONFIG)
    assert first.new == {"l0", "l1"} and not first.dropped and not first.free_text
    assert [line.evidence for line in first.document.lines] == [("m0000",), ("m0000",)]
    assert second.turn.kept == "unfinished" and second.document == first.document
    assert not second.new and not second.dropped
    assert not third.new and [line.text for line in third.dropped] == ["drinks: tea"]
    assert [line.text for line in third.document.current] == ["pets: cat"]
    assert third.free_text == ("Sure!",) and third.turn.memory.startswith("Sure!")
    assert third.chat_tokens == 4 and third.written_tokens == 4


def test_a_turn_is_shown_before_the_next_is_written_and_the_rest_is_never_read() -> None:
    generator = ScriptedGenerator(lambda prompt: "- x: y")
    turns = read_chat(CHAT, generator, CONFIG, max_chunks=2)
    next(turns)
    assert len(generator.prompts) == 1
    assert [turn.turn.index for turn in turns] == [1] and len(generator.prompts) == 2
