"""Windows, BM25 against a ranking worked out by hand, and what a model is shown of what was found."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.evaluation.systems.base import Named
from personamem_pipeline.evaluation.systems.retrieval import Bm25, Retrieval, Search, bm25_ranker, retrieved, windows
from personamem_pipeline.memory.chunking import render_messages
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.memory.prompts import chat_prompt
from personamem_pipeline.presets import MemoryConfig, RetrievalConfig
from personamem_pipeline.records import Message
from personamem_pipeline.settings import PROJECT

NAMED = Named("bm25", "BM25", "baseline")
SMALL = RetrievalConfig(window=2, overlap=0, top=2)


def messages(*contents: str) -> tuple[Message, ...]:
    return tuple(Message(turn_id=f"t{i}", role="user", content=text) for i, text in enumerate(contents))


def search(contents: Sequence[str], *queries: str) -> Search:
    """One message a window."""
    said = messages(*contents)
    return Search(said, tuple((message,) for message in said), queries)


@pytest.fixture
def batch(source: Source) -> Batch:
    return next(source.batches())


@given(count=st.integers(0, 60), size=st.integers(1, 9), data=st.data())
def test_windows_cover_every_message_and_overlap_exactly(count: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    said = messages(*map(str, range(count)))
    cut = windows(said, size, overlap)
    assert {message for window in cut for message in window} == set(said)
    for one, following in pairwise(cut):
        assert len(one) == size
        assert one[size - overlap :] == following[:overlap]
        assert len(following) > overlap, "every window has something new"
    assert len(cut) == (0 if not count else 1 + max(0, math.ceil((count - size) / (size - overlap))))


def test_the_published_windows() -> None:
    said = messages(*map(str, range(19)))
    assert [(int(w[0].content), int(w[-1].content)) for w in windows(said)] == [
        (0, 5), (4, 9), (8, 13), (12, 17), (16, 18),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="overlap"):
        windows(said, 3, 3)


def test_bm25_by_hand() -> None:
    contents = ["Tea tea cake", "green tea", "loud music", "green green hills far away"]
    # N = 4, lengths 3, 2, 2, 5, mean 3; "tea" is in 2 windows, "green" in 2: idf = ln(1 + 2.5 / 2.5) = ln 2.
    idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))

    def part(tf: int, length: int) -> float:
        return idf * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * length / 3))

    by_hand = [part(2, 3), part(1, 2) + part(1, 2), 0.0, part(2, 5)]
    expected = sorted(range(4), key=lambda place: -by_hand[place])
    assert expected == [1, 0, 3, 2]
    assert Bm25().rank([search(contents, "The GREEN tea?", "music", "nothing known", "")]) == [
        [expected, [2, 0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    ]


def test_bm25_ranks_ties_in_time_order_and_takes_windows_without_a_word() -> None:
    mixed = ["tea time", "", "tea tea time"] * 40
    by_score = [list(range(start, 120, 3)) for start in (2, 0, 1)]
    assert Bm25().rank([search(mixed, "tea"), search(["?", "!"], "tea"), search([], "tea")]) == [
        [[place for level in by_score for place in level]], [[0, 1]], [[]],
    ]  # fmt: skip


def test_bm25_ranks_alike_in_every_process() -> None:
    contents, query = [f"w{i % 7} v{i % 5} common" for i in range(50)], "w3 v2 common w5"
    code = (
        "from personamem_pipeline.evaluation.systems.retrieval import *;"
        f"said = [(Message(turn_id=str(i), role='user', content=text),) for i, text in enumerate({contents!r})];"
        f"print(Bm25().rank([Search((), tuple(said), ({query!r},))]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert run.stdout == f"{Bm25().rank([search(contents, query)])}\n", run.stderr
    assert run.stderr == "", "no progress bar"


def test_what_is_found_is_put_back_into_time_order_each_message_once() -> None:
    said = messages(*map(str, range(19)))
    found = retrieved(Search(said, tuple(windows(said)), ()), [3, 0, 2, 1, 4], 3)
    assert [int(message.content) for message in found] == [0, 1, 2, 3, 4, 5, *range(8, 18)]


def test_a_reader_answers_from_what_bm25_finds(
    batch: Batch, memory: MemoryConfig, model: Callable[[float], ScriptedGenerator]
) -> None:
    generator = model(1.0)
    outputs = Retrieval(NAMED, generator, memory, SMALL, bm25_ranker()).run(batch)
    assert len(outputs.replies) == (len(batch.questions) + len(batch.people)) * batch.orders
    assert outputs.steps == ()
    end = [reply for reply in outputs.replies if reply.moment == "end"]
    # "Which music today?" shares one word with one window; the request to forget is found for its own topic.
    assert all(r"\boxed" in reply.output for reply in end)
    assert all(prompt.startswith("Chat:\n") for prompt in generator.prompts), "the chat's prompt, under protocol memory"


def test_the_search_sees_the_query_alone_and_the_chat_before_the_request(batch: Batch, memory: MemoryConfig) -> None:
    seen: list[Search] = []

    class Spy:
        def rank(self, searches: Sequence[Search]) -> list[list[list[int]]]:
            seen.extend(searches)
            return [[list(range(len(one.windows))) for _ in one.queries] for one in searches]

    generator = ScriptedGenerator(lambda prompt: "none")
    outputs = Retrieval(NAMED, generator, memory, SMALL.model_copy(update={"top": 9}), Spy()).run(batch)
    assert [query for one in seen[: len(batch.people)] for query in one.queries] == [
        question.user_query for question in batch.questions
    ]
    earlier = seen[len(batch.people) :]
    assert len(earlier) == len(batch.people)
    assert not any("forget" in text for one in earlier for text in one.texts)
    before = [i for i, reply in enumerate(outputs.replies) if reply.moment == "before_forget"]
    assert before
    assert not any("Please forget" in generator.prompts[i] for i in before)


def test_windows_that_do_not_fit_are_left_out_whole_lowest_first(batch: Batch, memory: MemoryConfig) -> None:
    person, question = batch.people[0], batch.people[0].questions[1]
    config = RetrievalConfig(window=2, overlap=0, top=4)
    cut = windows(person.history.messages, 2, 0)
    ranking = Bm25().rank([Search(person.history.messages, tuple(cut), (question.user_query,))])[0][0]
    options = {letter: text for letter, text in zip("abcd", question.options, strict=True)}

    def tokens(top: int) -> int:
        found = retrieved(Search(person.history.messages, tuple(cut), ()), ranking, top)
        return len(chat_prompt(memory, found, question.user_query, options).split())

    def shown(context: int | None) -> tuple[list[str], set[str]]:
        generator = ScriptedGenerator(lambda prompt: "none", context)
        outputs = Retrieval(NAMED, generator, memory, config, bm25_ranker()).run(batch)
        own = [reply for reply in outputs.replies if reply.question_id == question.question_id]
        prompts = [prompt for prompt in generator.prompts if question.user_query in prompt]
        return prompts[: batch.orders], {reply.problem for reply in own}

    room = memory.answer_tokens
    best_two = [render_messages(cut[number]) for number in ranking[:2]]
    prompts, problems = shown(tokens(2) + room)
    assert problems == {""}
    assert all(text in prompt for text in best_two for prompt in prompts)
    assert all(len(prompt.split()) == tokens(2) for prompt in prompts)
    assert shown(tokens(1) + room)[1] == {""}
    assert shown(tokens(1) + room - 1)[1] == {"over_long"}
    assert all(len(prompt.split()) == tokens(4) for prompt in shown(None)[0])
