"""The memory as a document keeps ids, evidence and history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.memory.document import MemoryDocument, parse_bullets

bullets = st.lists(
    st.sampled_from(["drinks: tea", "drinks: wine", "pets: cat", "never mention work", "has two cats"]), max_size=5
)


def as_reply(texts: list[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


@given(st.lists(bullets, max_size=6))
def test_rendering_gives_back_what_was_written_last_and_nothing_is_lost(replies: list[list[str]]) -> None:
    document = MemoryDocument()
    for turn, texts in enumerate(replies):
        document = document.rewritten(as_reply(texts), [f"t{turn}"])
        assert parse_bullets(document.render()) == tuple(dict.fromkeys(texts))
    ever = {text for texts in replies for text in texts}
    assert {line.text for line in document.lines} == ever
    assert len({line.line_id for line in document.lines}) == len(document.lines)


def test_a_line_that_stays_keeps_its_id_and_its_evidence() -> None:
    first = MemoryDocument().rewritten("- drinks: tea", ["t1"])
    second = first.rewritten("- pets: cat\n- drinks: tea", ["t2"])
    tea = next(line for line in second.current if line.text == "drinks: tea")
    assert tea == first.current[0]
    assert next(line for line in second.current if line.topic == "pets").evidence == ("t2",)


def test_what_is_dropped_stays_as_history() -> None:
    document = MemoryDocument().rewritten("- drinks: tea", ["t1"]).rewritten("- drinks: wine", ["t2"])
    assert [(line.text, line.status) for line in document.lines] == [
        ("drinks: tea", "superseded"),
        ("drinks: wine", "current"),
    ]
    assert [line.status for line in document.rewritten("none", ["t3"], forgets=True).lines] == [
        "superseded",
        "forbidden",
    ]


def test_lines_that_are_no_bullets_are_not_memory() -> None:
    assert parse_bullets("Here is the memory:\n- a\n* b\n2. c\n\nI hope this helps") == ("a", "b", "c")
