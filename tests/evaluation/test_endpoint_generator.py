"""A model behind an endpoint as a generator: draws, counts, refusals, stopping, and a whole demo history read by it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.endpoint_generator import EndpointGenerator
from personamem_pipeline.evaluation.systems.query_aware import problem, writing_prompt
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.llm.simulator import questions, sessions
from personamem_pipeline.llm.simulator.world import world
from personamem_pipeline.memory import episode
from personamem_pipeline.memory.prompts import parse_letter, write_prompt
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.progress import Interrupted
from personamem_pipeline.records import CONVERSATION_TYPES, Message, Question
from personamem_pipeline.seeds import rng
from tests.llm.faults import Reply, completion, endpoint, error, server, simulator
from tests.llm.test_client import simulator_process

HELLO = completion("Hello.")


class Server:
    """Says what was asked and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        self.requests.append(request)
        return completion(f"{text_of(request)} at {request['temperature']} by {request['seed']}")


def text_of(request: dict[str, Any]) -> str:
    return str(request["messages"][0]["content"])


def test_replies_keep_their_order_and_the_servers_counts() -> None:
    handle = Server()
    with server(handle) as url:
        used = EndpointGenerator(endpoint(url), context=100)
        replies = used.generate([f"p{index}" for index in range(30)], max_tokens=5)
    assert [reply.text.split()[0] for reply in replies] == [f"p{index}" for index in range(30)]
    assert all(reply.finished and not reply.refused for reply in replies)
    assert {(reply.counted, reply.input_tokens, reply.output_tokens) for reply in replies} == {((7, 2), 7, 2)}
    assert {request["max_tokens"] for request in handle.requests} == {5}
    assert used.context == 100
    assert used.count("The capital of Norway is Oslo.") == 7


def test_draws_depend_on_the_seed_and_on_nothing_around_them(tmp_path: Path) -> None:
    with server(Server()) as url:
        used = EndpointGenerator(endpoint(url, cache=tmp_path / "llm.sqlite"))

        def drawn(*prompts: str, seed: int = 1, temperature: float = 0.7) -> list[str]:
            given = used.generate(prompts, max_tokens=5, temperature=temperature, seed=seed)
            return [generation.text for generation in given]

        twice = drawn("a", "b", "a")
        assert twice[0] != twice[2], "equal prompts are drawn anew"
        assert used.endpoint.usage.calls == 3
        assert drawn("a", "a", "b") == [twice[0], twice[2], twice[1]]
        assert used.endpoint.usage.calls == 3, "the cache knows them at any place"
        assert drawn("a", seed=2) != twice[:1]
        calls = used.endpoint.usage.calls
        greedy = drawn("a", "b", "a", temperature=0.0)
        assert greedy[0] == greedy[2]
        assert drawn("b", "a", seed=5, temperature=0.0) == [greedy[1], greedy[0]]
        assert used.endpoint.usage.calls == calls + 2, "greedy replies are asked for once, whatever the seed"


@pytest.mark.parametrize(
    ("reply", "counted"),
    [
        (completion(None, refusal="no"), (7, 2)),
        (completion("half a", finish="content_filter"), (7, 2)),
        (error(400, "not nice", code="content_filter"), (0, 0)),
        (error(413, "too large"), (0, 0)),
    ],
)
def test_what_is_declined_is_refused_and_empty(
    reply: Reply, counted: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    with server(lambda request, headers: reply if text_of(request) == "bad" else HELLO) as url:
        good, bad = EndpointGenerator(endpoint(url, concurrency=1)).generate(["good", "bad"], max_tokens=5)
    assert (good.refused, good.text) == (False, "Hello.")
    assert (bad.refused, bad.finished, bad.text, bad.counted) == (True, False, "", counted)
    assert ("refused 1 of 2" in caplog.text) == (counted == (0, 0))


def test_a_reply_that_is_cut_is_unfinished() -> None:
    with server(lambda request, headers: completion("cut in", finish="length")) as url:
        (cut,) = EndpointGenerator(endpoint(url)).generate(["p"], max_tokens=2)
    assert (cut.finished, cut.refused, cut.text) == (False, False, "cut in")


def test_an_endpoint_that_takes_nothing_is_an_error_and_no_score() -> None:
    told = r"takes none of 3 requests: bad_request.*seed is not permitted"
    with (
        server(lambda request, headers: error(400, "seed is not permitted")) as url,
        pytest.raises(UserError, match=told),
    ):
        EndpointGenerator(endpoint(url)).generate(["a", "b", "c"], max_tokens=5)


def test_a_server_that_fails_is_an_error_and_not_the_models_wrong_answer() -> None:
    def fails_on_b(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        return error(500, "out of order") if text_of(request) == "b" else HELLO

    with server(fails_on_b) as url, pytest.raises(UserError, match=r"did not answer 1 of 3 requests: unanswered"):
        EndpointGenerator(endpoint(url, max_retries=1)).generate(["a", "b", "c"], max_tokens=5)


def test_a_server_that_does_not_count_is_counted_here_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    silent = Reply(200, '{"choices": [{"message": {"content": "It is Oslo."}, "finish_reason": "stop"}]}')
    with server(lambda request, headers: silent) as url:
        used = EndpointGenerator(endpoint(url))
        replies = used.generate(["The capital of Norway?", "Norway?"], max_tokens=5)
    assert [reply.counted for reply in replies] == [(5, 4), (3, 4)]
    assert len(caplog.records) == 1


def test_a_budget_ends_the_call() -> None:
    with server(lambda request, headers: HELLO) as url, pytest.raises(UserError, match="budget of 40 tokens"):
        EndpointGenerator(endpoint(url, budget_tokens=40, concurrency=1)).generate(list("abcdefgh"), max_tokens=5)


def test_it_stops_when_told_and_goes_on_from_there(tmp_path: Path) -> None:
    handle = Server()
    with server(handle) as url:
        stopping = EndpointGenerator(
            endpoint(url, cache=tmp_path / "llm.sqlite", concurrency=1), stop=lambda: len(handle.requests) >= 5
        )
        with pytest.raises(Interrupted, match="5 of 20 replies"):
            stopping.generate([f"p{index}" for index in range(20)], max_tokens=5)
        again = EndpointGenerator(endpoint(url, cache=tmp_path / "llm.sqlite"))
        again.generate([f"p{index}" for index in range(20)], max_tokens=5)
    assert again.endpoint.usage.cached >= 5
    assert again.endpoint.usage.calls == 20 - again.endpoint.usage.cached


def test_it_is_configured_by_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERSONAMEM_HOME", str(tmp_path))
    monkeypatch.setenv("PERSONAMEM_LLM_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("PERSONAMEM_LLM_MODEL", "frontier")
    monkeypatch.setenv("PERSONAMEM_LLM_API_KEY", "secret")
    used = EndpointGenerator.configured(context=9)
    assert (used.endpoint.base_url, used.endpoint.model, used.context) == ("http://127.0.0.1:1/v1", "frontier", 9)
    assert used.endpoint.cache == str(tmp_path / "cache" / "llm.sqlite")
    assert "secret" not in repr(used)


def person(index: int) -> tuple[list[Message], list[tuple[str, dict[str, str], str]]]:
    """A history in the simulator's sentences, and a question with its right letter about each thing it shows."""
    draw, messages, asked = rng(0, "person", index), list[Message](), []
    for place, topic in enumerate(draw.sample(world().topics, 6)):
        preference, other = draw.sample(topic.preferences, 2)
        kind = ("reveals", "reveals", "updates", "others", "forgets", "small_talk")[place]
        brief: dict[str, Any] = {
            "event": kind, "conversation_type": draw.choice(CONVERSATION_TYPES), "pref_type": "neutral_preferences",
            "topic": topic.name, "preference": preference.text, "previous": "", "who": "self", "wording": "seen",
            "edition": "training", "profile": {},
        }  # fmt: skip
        told = [brief]
        if kind == "updates":
            told = [brief | {"event": "reveals", "preference": other.text}, brief | {"previous": other.text}]
        elif kind == "others":
            told = [brief | {"event": "reveals", "who": "others"}]
        elif kind == "forgets":
            told = [brief | {"event": "reveals"}, brief]
        for one in told:
            messages += [
                Message(turn_id=f"{place}.{len(messages)}", role=turn["role"], content=turn["content"])
                for turn in sessions.session(one, draw)["messages"]
            ]
        if kind != "small_talk":
            asked.append(_question(told[-1] | ({"pref_type": "ask_to_forget"} if kind == "forgets" else {}), draw))
    return messages, asked


def _question(brief: dict[str, Any], draw: random.Random) -> tuple[str, dict[str, str], str]:
    made = questions.question(brief, draw)
    texts = [made["correct_answer"], *made["incorrect_answers"]]
    draw.shuffle(texts)
    options = dict(zip("abcd", texts, strict=True))
    return made["user_query"], options, "abcd"[texts.index(made["correct_answer"])]


@pytest.mark.parametrize("prompts", ["compact", "full"])
def test_the_simulator_writes_the_same_with_the_question_in_sight(prompts: Any) -> None:
    """Holds the wording of `query_aware` and of the simulator's layouts together."""
    config = MemoryConfig(prompts=prompts, chunk_tokens=900, max_chunks=9, memory_tokens=90, answer_tokens=20)
    messages, ((query, options, _), *_) = person(0)
    right, *wrong = options.values()
    fields: dict[str, Any] = {
        "question_id": "q", "user_query": query, "correct_answer": right, "incorrect_answers": tuple(wrong),
    }  # fmt: skip
    question = Question.model_construct(**{name: "" for name in Question.model_fields} | fields)
    usual = write_prompt(config, messages, "")
    prompts_of = [writing_prompt(config, shown, messages, "") for shown in (problem(config, question, 0), "")]
    first, *others = EndpointGenerator(simulator()).generate([usual, *prompts_of], max_tokens=90)
    assert first.text.startswith("- ")
    assert [reply.text for reply in others] == [first.text] * 2


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with simulator_process() as url:
        yield url


@pytest.mark.parametrize(
    ("protocol", "prompts", "where"),
    [
        ("memory", "compact", "in process"),
        ("memory", "full", "over HTTP"),
        ("full_context", "compact", "over HTTP"),
        ("full_context", "full", "in process"),
    ],
)
def test_the_simulator_reads_histories_and_answers_nearly_all_right(
    protocol: Any, prompts: Any, where: str, served: str
) -> None:
    config = MemoryConfig(
        protocol=protocol, prompts=prompts, chunk_tokens=80, max_chunks=20, memory_tokens=60, answer_tokens=20
    )
    used = EndpointGenerator(simulator() if where == "in process" else Endpoint(served, "simulator/1", None))
    people = [person(index) for index in range(10)]
    turns = episode.write_memories([messages for messages, _ in people], used, config)
    asks = [
        (episode.known_after(own, messages, config), *question)
        for own, (messages, questions) in zip(turns, people, strict=True)
        for question in questions
    ]
    replies = episode.answer(
        [known for known, *_ in asks], [query for _, query, *_ in asks], [options for *_, options, _ in asks], used, config
    )  # fmt: skip
    right = sum(parse_letter(reply.text) == letter for reply, (*_, letter) in zip(replies, asks, strict=True))
    assert len(asks) == 50
    assert right >= 48
    assert all(reply.finished and reply.input_tokens > 0 for reply in replies)
    assert not any(turn.kept for own in turns for turn in own)
    assert used.endpoint.usage.prompt_tokens > 0
