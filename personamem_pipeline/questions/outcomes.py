"""What a question's trials came to: asking the readers, and their answers as hits and statements.

A refusal stays visible as None. What it counts as is `certify`'s to say, and never a default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.questions.stating import same_preference
from personamem_pipeline.questions.trials import Choice, ChoiceReply, StateReply, Trials

Hits = tuple[bool | None, ...]
"""Of each option order, whether the reader was right; None: no usable answer."""


@dataclass(frozen=True)
class Outcomes:
    """What a question's trials came to. `stated`: what the reader stated; None: no usable answer."""

    blind: tuple[Hits, ...]
    """One per reader."""
    oracle: Hits
    update: Hits
    swapped: Hits
    query_stated: str | None
    hints_stated: tuple[str | None, ...]
    errors: tuple[str, ...] = ()

    @property
    def unusable(self) -> bool:
        every = (*(hit for hits in self.blind for hit in hits), *self.oracle, *self.update, *self.swapped)
        return None in every or None in (self.query_stated, *self.hints_stated)


Answers = list[dict[str, Any]]
"""Per reader: a prompt's identity -> the reply, or the refusal."""


def ask(
    readers: Sequence[Endpoint],
    tried: Sequence[Trials],
    control: Sequence[Prompt[StateReply]],
    on_progress: Callable[[int, int], None] | None,
) -> Answers:
    """The readers' replies, one `map` each and no request twice: the first to all trials and the control, the others to
    the blind ones."""
    every = [*control, *(prompt for trials in tried for prompt in _all(trials))]
    blind: list[Prompt[Any]] = [choice.prompt for trials in tried for choice in trials.blind]
    distinct = [{_identity(prompt): prompt for prompt in asked} for asked in (every, *[blind] * (len(readers) - 1))]
    total = sum(map(len, distinct))
    answers: Answers = []
    before = 0
    for reader, prompts in zip(readers, distinct, strict=True):

        def told(done: int, _: int, before: int = before) -> None:
            if on_progress:
                on_progress(before + done, total)

        replies = reader.map(list(prompts.values()), told)
        answers.append(dict(zip(prompts, replies, strict=True)))
        before += len(prompts)
    return answers


def _identity(prompt: Prompt[Any]) -> str:
    return f"{prompt.task} {prompt.key}"  # a trial's key is the digest of its brief


def _all(trial: Trials) -> list[Prompt[Any]]:
    choices = (*trial.blind, *trial.oracle, *trial.update, *trial.swapped)
    return [*(choice.prompt for choice in choices), trial.query, *trial.hints]


def noticed(control: Prompt[StateReply], label: str, answers: Answers) -> bool:
    """Whether the first reader stated what the control says outright."""
    reply = answers[0][_identity(control)]
    return not isinstance(reply, Refused) and same_preference(reply.preference, label)


def outcomes(trial: Trials, answers: Answers) -> Outcomes:
    first = answers[0]

    def hits(choices: Sequence[Choice], reader: dict[str, Any]) -> Hits:
        return tuple(_hit(reader[_identity(choice.prompt)], choice.right) for choice in choices)

    def stated(prompt: Prompt[Any]) -> str | None:
        reply = first[_identity(prompt)]
        return None if isinstance(reply, Refused) else str(reply.preference)

    replies = [first[_identity(prompt)] for prompt in _all(trial)]
    replies += [reader[_identity(choice.prompt)] for reader in answers[1:] for choice in trial.blind]
    return Outcomes(
        blind=tuple(hits(trial.blind, reader) for reader in answers),
        oracle=hits(trial.oracle, first),
        update=hits(trial.update, first),
        swapped=hits(trial.swapped, first),
        query_stated=stated(trial.query),
        hints_stated=tuple(map(stated, trial.hints)),
        errors=tuple(str(reply.args[-1]) for reply in replies if isinstance(reply, Refused)),
    )


def _hit(reply: ChoiceReply | Refused, right: str) -> bool | None:
    return None if isinstance(reply, Refused) else reply.answer == right
