"""Targets from a teacher: the model endpoint writes candidates, the labels choose (rejection sampling).

A write turn is asked with the chunk and the *ideal* memory before it, so that no turn waits for another and all candidates
of a run are one batch. The first candidate is taken that holds everything within reach, nothing that was to be forgotten
and no private value, in lines of the one form and within the cap. A multiple-choice turn takes the first that chooses
right and quotes what decides it. Where none will do the labelled target stays; open answers are always the labelled ones.
A reply that is none (`Refused`) is a candidate that will not do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.llm.prompts import AROUND
from personamem_pipeline.memory.chunking import Chunk, render_messages
from personamem_pipeline.memory.episode import without_repeats
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.prompts import EMPTY, MAX_LINES, without_thinking
from personamem_pipeline.presets import MemoryConfig, SftConfig
from personamem_pipeline.progress import Progress
from personamem_pipeline.records import History
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import load_settings
from personamem_pipeline.store import write_json_atomically
from personamem_pipeline.training.labels import ChunkLabels, chunk_labels, forbidden_share, retention
from personamem_pipeline.training.targets import AnswerTask, Task, WriteTask, choice_reply, deciding_line, with_thought

TARGETS = "teacher.json"
"""The file of the accepted replies: in the scratch of an unfinished run, and then in the checkpoint, as the only copy of
what was trained on."""
LINE = re.compile(r"- [^:\n]+: \S[^\n]*")
POLL_SECONDS = 0.5

WRITE = """You keep a chatbot's memory of one user. The brief holds the next part of the chat (`chat`), the `memory` so far,
and how many `lines` and `tokens` it may have at most. Rewrite the memory so that it helps a future assistant serve this
user. Note what the user's own turns show about the user, above all what is only implied: tastes, habits, circumstances,
boundaries. Keep what still holds word for word, replace what has changed, drop what the user asked to forget. Do not note
what is true of other people only, private numbers or keys, or the tasks themselves.
Reply with a JSON object: reasoning (two or three short sentences: which turn shows what, what goes and why), memory (the
whole new memory, one line per item in the form `- topic: content`, news first; `none` if there is nothing to note)."""

CHOOSE = """You answer a user of whom you know only the `memory` of the brief, or only its `chat`. Choose the one of the
`options` that serves this user best as a reply to the `query`. If nothing that you know matters, choose the one that
assumes nothing.
Reply with a JSON object: reasoning (one or two short sentences), quote (the line of the memory or chat that decides it,
word for word, or `none`), letter (of the option)."""


class MemoryReply(BaseModel):
    """What the endpoint answers to the task `teacher_memory`."""

    model_config = ConfigDict(frozen=True)
    reasoning: str
    memory: str


class ChoiceReply(BaseModel):
    """What the endpoint answers to the task `teacher_choice`."""

    model_config = ConfigDict(frozen=True)
    reasoning: str
    quote: str
    letter: str


class Taught(BaseModel):
    """What a teacher gave to a run."""

    model: str
    targets: dict[str, str] = Field(description="key of a task -> the accepted reply")
    fell_back: int = Field(description="turns of which no candidate was accepted")


def prompts_digest() -> str:
    """What the texts of both tasks are known by in a passport."""
    return digest([WRITE, CHOOSE, AROUND])


def configured_teacher() -> Endpoint:
    """The endpoint that the settings name, with the key from the environment."""
    settings = load_settings()
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    return Endpoint(settings.llm_base_url, settings.llm_model, key, **settings.llm_options)


def taught_targets(
    tasks: Sequence[Task],
    endpoint: Endpoint,
    memory: MemoryConfig,
    config: SftConfig,
    renderer: Renderer,
    scratch: Path,
    progress: Progress,
) -> Taught:
    """The teacher's targets, asked for once per run: they are kept in `scratch`, so that a resumed run goes on with the
    same rows though another model may answer today. Of several processes the first asks, and the others read its file
    (a collective would time out long before a slow endpoint has answered)."""
    path = scratch / TARGETS
    if path.exists():
        progress.say("this run was started before: its teacher's targets are in %s", path)
    elif progress.is_main:
        write_json_atomically(path, ask(tasks, endpoint, memory, config, renderer, progress).model_dump(mode="json"))
    while not path.exists():
        time.sleep(POLL_SECONDS)
    return Taught.model_validate_json(path.read_text())


def ask(
    tasks: Sequence[Task],
    endpoint: Endpoint,
    memory: MemoryConfig,
    config: SftConfig,
    renderer: Renderer,
    progress: Progress,
) -> Taught:
    """Ask for `config.teacher_samples` candidates of every turn and take the first good one of each.

    Raises `UserError` when not one of them all was good: an endpoint that teaches nothing is a mistake in the settings.
    """
    asked = {task.key: task for task in tasks if isinstance(task, WriteTask) or task.letter}
    samples = range(config.teacher_samples)
    prompts = [prompt(task, memory, number, config.seed) for task in asked.values() for number in samples]
    progress.say("the teacher %s writes %d candidates for %d turns", endpoint.model, len(prompts), len(asked))
    replies = endpoint.map(prompts)
    labels: dict[str, list[ChunkLabels]] = {}
    targets: dict[str, str] = {}
    for place, (key, task) in enumerate(asked.items()):
        candidates = replies[place * len(samples) : (place + 1) * len(samples)]
        if isinstance(task, WriteTask) and task.history.person_id not in labels:
            labels[task.history.person_id] = chunk_labels(task.history, task.chunks)
        for reply in candidates:
            target = None
            if isinstance(task, WriteTask) and isinstance(reply, MemoryReply):
                target = memory_target(task, reply, labels[task.history.person_id][task.number], memory)
            elif isinstance(task, AnswerTask) and isinstance(reply, ChoiceReply):
                target = choice_target(task, reply, memory)
            cap = memory.memory_tokens if isinstance(task, WriteTask) else memory.answer_tokens
            if target is not None and len(renderer.completion_ids(target)) <= cap:
                targets[key] = target
                break
    if asked and not targets:
        refused = next((reply for reply in replies if isinstance(reply, Refused)), None)
        raise UserError(
            f"none of the {len(prompts)} candidates that {endpoint.model} wrote can be a target"
            + (f"; one was refused: {refused.args[-1]}" if refused else ""),
            where="sft.targets",
            expected="a model that knows what the chats show, and replies in the asked-for form",
            remedy="point PERSONAMEM_LLM_MODEL to a stronger model, or set sft.targets to labels",
        )
    progress.say("%d of %d turns have a teacher's target, the others the labelled one", len(targets), len(asked))
    return Taught(model=endpoint.model, targets=targets, fell_back=len(asked) - len(targets))


def prompt(task: Task, memory: MemoryConfig, number: int, seed: int) -> Prompt[Any]:
    """The request for one candidate. `number` is in its key, and so in its seed: each candidate is a draw of its own,
    for the response cache, too."""
    key = f"{task.key} {number}"
    if isinstance(task, WriteTask):
        brief: dict[str, Any] = {
            "chat": _turns(task.chunk),
            "memory": task.turn.before or EMPTY,
            "lines": MAX_LINES,
            "tokens": memory.memory_tokens,
        }
        return Prompt("teacher_memory", WRITE, brief, MemoryReply, key, seed)
    known = {"memory": task.known or EMPTY} if isinstance(task.known, str) else {"chat": _turns(tuple(task.known))}
    brief = {**known, "query": task.question.user_query, "options": dict(task.options or {})}
    return Prompt("teacher_choice", CHOOSE, brief, ChoiceReply, key, seed)


def _turns(messages: Chunk) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def memory_target(task: WriteTask, reply: MemoryReply, labels: ChunkLabels, config: MemoryConfig) -> str | None:
    """The target that a candidate memory makes, or None where the labels do not accept it."""
    written = without_repeats(without_thinking(reply.memory))
    lines = [] if written == EMPTY else written.splitlines()
    if not written or len(lines) > MAX_LINES or not all(LINE.fullmatch(line) for line in lines):
        return None
    if retention(task.turn.before, written, labels) not in (None, 1.0):
        return None
    if forbidden_share(written, labels) not in (None, 0.0) or any(value in written for value in _private(task.history)):
        return None
    return with_thought(reply.reasoning.strip(), written) if config.reasoning else written


def _private(history: History) -> list[str]:
    about = [session.preference for session in history.sessions if session.preference]
    return [preference.text for preference in about if preference.pref_type == "sensitive_info"]


def choice_target(task: AnswerTask, reply: ChoiceReply, config: MemoryConfig) -> str | None:
    """The target that a candidate choice makes, or None where it is wrong, or right without a reason: it must quote the
    memory's deciding line, or a line of the chat, or nothing where nothing decides."""
    if task.options is None or reply.letter.strip("(). ").lower() != task.letter:
        return None
    quote, decides = reply.quote.strip(), deciding_line(task.question, task.known)
    if isinstance(task.known, str) or EMPTY in (quote, decides):
        there = quote == decides
    else:
        there = any(quote in line for line in render_messages(task.known).splitlines()) and bool(quote)
    if not there:
        return None
    chosen = choice_reply(config, quote, task.options, task.letter)
    return with_thought(reply.reasoning.strip(), chosen) if config.reasoning else chosen
