"""Plain chat requests: the same way through the endpoint as prompts for records, and the simulator as who answers them."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm import limits
from personamem_pipeline.llm.client import Chat, Said
from personamem_pipeline.llm.dialects import Dialect, Length, Mode, request_body
from personamem_pipeline.llm.prompts import Request
from personamem_pipeline.llm.simulator import chat as reading
from personamem_pipeline.llm.simulator import language as say
from personamem_pipeline.llm.simulator import questions, sessions
from personamem_pipeline.llm.simulator.app import MODEL, respond
from personamem_pipeline.llm.simulator.guesser import MODEL as GUESSER
from personamem_pipeline.llm.simulator.world import WorldPreference, world
from personamem_pipeline.memory.prompts import answer_prompt, chat_prompt, open_answer, parse_letter, write_prompt
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import CONVERSATION_TYPES, Message
from tests.llm.faults import Choice, Reply, choice, completion, endpoint, error, server, simulator

STYLES = [
    MemoryConfig(
        prompts=prompts, order=order, reasoning=reasoning, chunk_tokens=64, max_chunks=9, memory_tokens=60, answer_tokens=20
    )
    for prompts, order, reasoning in (
        ("compact", "chunk_first", False),
        ("compact", "memory_first", False),
        ("full", "chunk_first", False),
        ("full", "memory_first", True),
    )
]  # fmt: skip
STYLE_NAMES = [f"{style.prompts} {style.order}" for style in STYLES]
HELLO = completion("Hello.")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(limits, "LONGEST_WAIT", 0.02)


def chats(count: int, **changes: Any) -> list[Chat]:
    return [Chat(f"say {index}", f"row{index}", 9, **changes) for index in range(count)]


@pytest.mark.parametrize(
    ("mode", "length", "sha256"),
    [
        ("json_schema", "max_tokens", "0aeaf1a6c92d9beb"),
        ("json_object", "max_completion_tokens", "8839639f5662c059"),
        ("text", "max_tokens", "2927c27d8868c40e"),
    ],
)
def test_requests_for_records_are_byte_for_byte_what_they_were(mode: Mode, length: Length, sha256: str) -> None:
    """The cache's keys are taken over these bytes: a change would make everybody pay again."""
    body = request_body(choice(), choice().messages, "m", Dialect(mode, length), 10)
    assert hashlib.sha256(body).hexdigest().startswith(sha256)


def test_what_is_sent_and_what_comes_back() -> None:
    sent: list[dict[str, Any]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        sent.append(request)
        return HELLO

    with server(handle) as url:
        used = endpoint(url, concurrency=1, max_tokens=8192)
        said = used.map([Chat("say it", "one", 20, 0.7, seed=3), Chat("say it", "two", 20, 0.7, seed=3)])
    assert said == [Said(text="Hello.", finished=True, refused=False, input_tokens=7, output_tokens=2)] * 2
    assert sent[0] | {"seed": 0} == {
        "model": "some-model", "messages": [{"role": "user", "content": "say it"}], "max_tokens": 20,
        "temperature": 0.7, "seed": 0,
    }  # fmt: skip
    assert sent[0]["seed"] != sent[1]["seed"], "another key is another draw"
    assert all(0 <= request["seed"] < 2**31 for request in sent)
    assert (used.usage.calls, used.usage.prompt_tokens, used.usage.completion_tokens) == (2, 14, 4)


@pytest.mark.parametrize(
    ("reply", "text", "finished", "refused"),
    [
        (completion("cut in the mid", finish="length"), "cut in the mid", False, False),
        (completion(None, finish="length"), "", False, False),
        (completion("", finish="stop"), "", True, False),
        (completion(None, refusal="I would rather not"), "", False, True),
        (completion("half a", finish="content_filter"), "", False, True),
    ],
)
def test_what_a_model_says_is_taken_as_it_is(reply: Reply, text: str, finished: bool, refused: bool) -> None:
    with server(lambda request, headers: reply) as url:
        used = endpoint(url)
        (said,) = used.map(chats(1))
    assert said == Said(text=text, finished=finished, refused=refused, input_tokens=7, output_tokens=2)
    assert (used.usage.calls, used.usage.wasted, used.usage.refused) == (1, 0, 0), "nothing is asked again"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (error(400, "not nice", code="content_filter"), "declined: "),
        (error(400, "maximum context length is 8192 tokens"), "bad_request: "),
    ],
)
def test_a_request_that_is_not_taken_is_refused(reply: Reply, reason: str) -> None:
    with server(lambda request, headers: reply) as url:
        (refused,) = endpoint(url).map(chats(1))
    assert isinstance(refused, Refused)
    assert refused.args[-1].startswith(reason)


def test_the_cache_answers_the_second_time(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        asked.append(request)
        return completion(f"No {len(asked)}.", finish="length")

    with server(handle) as url:
        first = endpoint(url, cache=tmp_path / "llm.sqlite").map(chats(5))
        again = endpoint(url, cache=tmp_path / "llm.sqlite")
        assert again.map(chats(5)) == first
        assert (len(asked), again.usage.calls, again.usage.cached) == (5, 0, 5)
        again.map([*chats(1, temperature=0.5), *chats(1, seed=1)])
        assert len(asked) == 7, "another temperature or seed is another question"


@pytest.mark.parametrize("fault", [error(429), error(500)], ids=["429", "500"])
def test_passing_faults_are_retried(fault: Reply) -> None:
    asked: Counter[str] = Counter()

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        text = request["messages"][0]["content"]
        asked[text] += 1
        return fault if asked[text] == 1 and text.endswith("3") else HELLO

    with server(handle) as url:
        used = endpoint(url, max_retries=5, concurrency=4)
        assert all(isinstance(said, Said) for said in used.map(chats(20)))
    assert (used.usage.calls, used.usage.retries) == (20, 2)


def test_a_budget_stops_before_it_is_passed(tmp_path: Path) -> None:
    with server(lambda request, headers: HELLO) as url:
        used = endpoint(url, budget_tokens=60, concurrency=1, cache=tmp_path / "llm.sqlite")
        with pytest.raises(UserError, match="budget of 60 tokens"):
            used.map(chats(20))
        assert used.usage.tokens <= 60
        rest = endpoint(url, cache=tmp_path / "llm.sqlite")
        rest.map(chats(20))
    assert rest.usage.cached == used.usage.calls > 0


@pytest.mark.parametrize(
    "complaint",
    [
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "`temperature` is deprecated for this model.",
    ],
)
def test_a_model_that_takes_no_temperature_is_asked_without(
    complaint: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[dict[str, Any]] = []

    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        sent.append(request)
        if "max_tokens" in request:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return error(400, complaint) if "temperature" in request else HELLO

    with server(handle) as url:
        first = endpoint(url, concurrency=1, cache=tmp_path / "llm.sqlite")
        said = first.map(chats(4))
        assert [("temperature" in request, "max_tokens" in request) for request in sent] == [
            (True, True), (True, False), *[(False, False)] * 4,
        ]  # fmt: skip
        again = endpoint(url, cache=tmp_path / "llm.sqlite")
        assert again.map(chats(4)) == said
        assert (len(sent), again.usage.cached) == (6, 4), "the re-run looks for answers without one, too"
    assert len(caplog.records) == 2
    assert "samples at its own" in caplog.text


def test_a_complaint_about_something_else_leaves_the_temperature() -> None:
    assert Dialect().refused("the temperature of this prompt is too long") is None
    assert Dialect(temperature=False).refused("'temperature' is not supported") is None


def test_both_kinds_of_request_share_an_endpoint() -> None:
    def handle(request: dict[str, Any], headers: dict[str, str]) -> Reply:
        return completion('{"answer": "b"}') if "response_format" in request else HELLO

    with server(handle) as url:
        asked: list[Request[Any]] = [choice(), *chats(1)]
        record, said = endpoint(url).map(asked)
    assert record == Choice(answer="b")
    assert isinstance(said, Said)
    assert said.text == "Hello."


def test_what_on_progress_raises_stops_the_rest() -> None:
    class Enough(Exception):
        pass

    def watch(done: int, total: int) -> None:
        if done == 3:
            raise Enough

    with server(lambda request, headers: HELLO) as url:
        used = endpoint(url, concurrency=2)
        with pytest.raises(Enough):
            used.map(chats(50), on_progress=watch)
    assert used.usage.calls < 10


def test_a_batch_says_what_live_requests_say(tmp_path: Path) -> None:
    asked = [Chat(write_prompt(STYLES[0], said(preference), ""), str(i), 60) for i, preference in enumerate(SOME)]
    used = simulator(cache=tmp_path / "llm.sqlite", batch=True, batch_poll_seconds=0.01)
    assert used.map(asked) == simulator().map(asked)
    assert (used.usage.calls, used.usage.retries) == (len(asked), 0)


SOME = random.Random(0).sample(world().preferences, 12)


def said(preference: WorldPreference, event: str = "reveals", **changes: Any) -> list[Message]:
    brief = {
        "event": event, "conversation_type": "chat_message", "pref_type": "neutral_preferences",
        "topic": preference.topic, "preference": preference.text, "previous": "", "who": "self", "wording": "seen",
        "edition": "training",
    } | changes  # fmt: skip
    turns = sessions.session(brief, random.Random(preference.text))["messages"]
    return [Message(turn_id=str(i), role=turn["role"], content=turn["content"]) for i, turn in enumerate(turns)]


def reply(prompt: str, max_tokens: int = 60) -> str:
    """What the simulator says, in process and over the real client."""
    (said,) = simulator().map([Chat(prompt, "row", max_tokens)])
    assert isinstance(said, Said)
    return said.text


@pytest.mark.parametrize("style", STYLES, ids=STYLE_NAMES)
@pytest.mark.parametrize("length", ["short", "long"])
def test_it_writes_what_a_chat_shows_and_forgets_what_it_must(style: MemoryConfig, length: str) -> None:
    """Also holds its layouts and the memory room's wording together, which are written apart."""
    old = next(p for p in SOME if len(world().topic(p.topic).preferences) > 1)
    new = next(p for p in world().topic(old.topic).preferences if p != old)
    other = next(p for p in SOME if p.topic != old.topic)
    memory = reply(write_prompt(style, [*said(old, length=length), *said(other, who="others", length=length)], ""))
    assert memory == f"- {old.topic}: {old.text}"
    memory = reply(write_prompt(style, said(new, "updates", previous=old.text, length=length), memory))
    assert memory == f"- {new.topic}: {new.text}"
    memory = reply(write_prompt(style, said(other, length=length), memory))
    assert memory.splitlines() == [f"- {new.topic}: {new.text}", f"- {other.topic}: {other.text}"]
    memory = reply(write_prompt(style, said(new, "forgets", length=length), memory))
    assert memory == f"- {other.topic}: {other.text}"
    assert reply(write_prompt(style, said(other, "forgets", length=length), memory)) == "none"


@pytest.mark.parametrize("style", STYLES, ids=STYLE_NAMES)
@pytest.mark.parametrize("source", ["memory", "chat"])
def test_it_answers_from_what_it_is_shown(style: MemoryConfig, source: str) -> None:
    draw, right = random.Random(1), 0
    for index, preference in enumerate(SOME):
        brief = {
            "pref_type": "neutral_preferences", "topic": preference.topic, "preference": preference.text, "previous": "",
            "who": "self", "edition": "training", "profile": {},
        }  # fmt: skip
        question = questions.question(brief, draw)
        texts = [question["correct_answer"], *question["incorrect_answers"]]
        options = dict(zip("abcd", texts[index % 4 :] + texts[: index % 4], strict=True))
        letter = next(key for key, text in options.items() if text == texts[0])

        def prompt(asked: dict[str, str] | None, preference: WorldPreference = preference, q: Any = question) -> str:
            if source == "memory":
                lines = [f"- {p.topic}: {p.text}" for p in SOME if p == preference or p.topic != preference.topic]
                return answer_prompt(style, "\n".join(lines), q["user_query"], asked)
            kind = CONVERSATION_TYPES[len(preference.text) % len(CONVERSATION_TYPES)]
            return chat_prompt(style, said(preference, conversation_type=kind), q["user_query"], asked)

        chosen = reply(prompt(options), 20)
        right += parse_letter(chosen) == letter
        quoted = chosen.splitlines()[0]
        assert quoted in prompt(options), "the line is quoted, not made up"
        assert preference.text in open_answer(reply(prompt(None), 40))
    assert right == len(SOME)


@pytest.mark.parametrize("style", STYLES, ids=STYLE_NAMES)
def test_knowing_nothing_it_assumes_nothing(style: MemoryConfig) -> None:
    preference = SOME[0]
    options = {"a": f"How about {preference.text}", "b": f"How about {world().topic(preference.topic).generic[0]}"}
    query = world().topic(preference.topic).queries[0]
    for prompt in (answer_prompt, chat_prompt):
        nothing: Any = "" if prompt is answer_prompt else ()
        assert reply(prompt(style, nothing, query, options)) == "none\n\\boxed{b}"
        assert preference.text not in reply(prompt(style, nothing, query, None))
        assert "add your own" in reply(prompt(style, nothing, say.SENSITIVE["door code"], None))
        assert reply(prompt(style, nothing, "Which way?", None)).startswith("none\nTell me")


def test_a_reply_over_the_cap_is_cut_and_says_so() -> None:
    lines = "\n".join(f"- {p.topic}: {p.text}" for p in {p.topic: p for p in SOME}.values())
    (said,) = simulator().map([Chat(write_prompt(STYLES[0], [], lines), "row", 8)])
    assert isinstance(said, Said)
    assert (said.finished, said.output_tokens, len(said.text.split())) == (False, 8, 8)
    assert reading.cut("- a: b c\n- d", 5) == ("- a: b c\n-", "length")
    assert reading.cut("- a: b c\n- d", 6) == ("- a: b c\n- d", "stop")


def plain(text: str, model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    ("text", "model"), [("Write a poem.", MODEL), (answer_prompt(STYLES[0], "", "Tea?", None), GUESSER)]
)
def test_any_other_plain_prompt_is_an_unknown_task(text: str, model: str) -> None:
    status, told = respond(plain(text, model))
    assert status == 400
    assert "answers the tasks" in json.dumps(told)
    assert respond(plain(answer_prompt(STYLES[0], "", "Tea?", None), MODEL))[0] == 200
