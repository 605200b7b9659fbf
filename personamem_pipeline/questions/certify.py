"""Certifying questions: does this one test memory, and can it be answered from its evidence?

Three measurements and one check, after the faults found in PersonaMem-v2 (a third of it can be answered without any
history): a *blind* reader sees no turns and should be near chance, an *oracle* reader sees the evidence turns alone and
should be right, and neither the question nor the revealing turns may name the preference. A reader that gives no usable
answer counts against the question. Refused questions keep their certificate, with the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.options import lettered
from personamem_pipeline.records import Certificate, History, Message, Question

INSTRUCTIONS = """You pick answers for a chatbot. The brief holds earlier turns of a chat with a user (possibly none),
the user's new request (`query`) and four options. Pick the option that serves this user best, given only what the turns
show: use what the user's own words reveal about them, prefer their latest state, do not treat other people's tastes as
theirs, never use what they asked to forget, and never repeat private data. If the turns show nothing, pick the option
you find most likely. Reply with a JSON object: answer, the letter."""


class ChoiceReply(BaseModel):
    """What the endpoint answers to the task `choice`."""

    answer: Literal["a", "b", "c", "d"]


def certify(
    questions: Sequence[Question],
    histories: Sequence[History],
    config: QuestionsConfig,
    endpoint: Endpoint,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Question]:
    """The same questions in the same order, each with its measured certificate."""
    history_of = {history.person_id: history for history in histories}
    turns_of = {question.question_id: _evidence(question, history_of[question.person_id]) for question in questions}
    prompts: list[Prompt[ChoiceReply]] = []
    rights: list[str] = []
    for question in questions:
        for reader, orders in (("blind", config.blind_orders), ("oracle", config.oracle_orders)):
            turns = turns_of[question.question_id] if reader == "oracle" else []
            for order in range(orders):
                options, right = lettered(question, seed, order)
                prompts.append(_prompt(question, turns, options, f"{question.question_id} {reader} {order}", seed))
                rights.append(right)
    replies = endpoint.map(prompts, on_progress)
    each = config.blind_orders + config.oracle_orders
    certified = []
    for index, question in enumerate(questions):
        part = slice(index * each, (index + 1) * each)
        hits = [_hit(reply, right) for reply, right in zip(replies[part], rights[part], strict=True)]
        errors = tuple(str(reply.args[-1]) for reply in replies[part] if isinstance(reply, Refused))
        certificate = judge(
            question, history_of[question.person_id], config, endpoint.model,
            blind=hits[: config.blind_orders], oracle=hits[config.blind_orders :], errors=errors,
        )  # fmt: skip
        certified.append(question.model_copy(update={"certificate": certificate}))
    return certified


def judge(
    question: Question,
    history: History,
    config: QuestionsConfig,
    reader: str,
    *,
    blind: Sequence[bool | None],
    oracle: Sequence[bool | None],
    errors: Sequence[str] = (),
) -> Certificate:
    """The certificate that these outcomes (one per option order; None: no usable answer) amount to."""
    blind_accuracy = sum(hit is not False for hit in blind) / len(blind)
    oracle_accuracy = sum(hit is True for hit in oracle) / len(oracle)
    leak = names_preference(question, history)
    reasons = []
    if None in (*blind, *oracle):
        reasons.append(f"reader: {errors[0] if errors else 'no usable answer'}")
    if blind_accuracy > config.max_blind_accuracy:
        reasons.append(f"blind: {blind_accuracy:.2f} without any history, over {config.max_blind_accuracy:.2f}")
    if oracle_accuracy < config.min_oracle_accuracy:
        reasons.append(f"oracle: {oracle_accuracy:.2f} from the evidence, under {config.min_oracle_accuracy:.2f}")
    if leak:
        reasons.append("leak: the question or a revealing turn names the preference")
    if len({text.casefold().strip() for text in question.options}) < len(question.options):
        reasons.append("options: two of them are the same")
    return Certificate(
        blind_accuracy=blind_accuracy, oracle_accuracy=oracle_accuracy, query_leak=leak,
        length_rank=length_rank(question.options), reader=reader, admitted=not reasons, reasons=tuple(reasons),
    )  # fmt: skip


def names_preference(question: Question, history: History) -> bool:
    """Whether the query, or a turn that should only hint at it, names the preference outright.

    A private value and a request to forget are said openly by nature; there only the query counts.
    """
    texts = [question.user_query]
    if question.pref_type != "sensitive_info":
        hints = {turn for s in history.sessions if s.event in ("reveals", "updates") for turn in s.evidence}
        turns = hints & set(question.evidence)
        texts += [message.content for message in history.messages if message.turn_id in turns]
    return any(question.preference.casefold() in text.casefold() for text in texts)


def length_rank(options: Sequence[str]) -> int:
    """Of the right (first) option by characters: 0 uniquely shortest, 3 uniquely longest, 1 neither."""
    right, *wrong = map(len, options)
    return 0 if right < min(wrong) else 3 if right > max(wrong) else 1


def _evidence(question: Question, history: History) -> list[Message]:
    return [message for message in history.messages if message.turn_id in question.evidence]


def _hit(reply: ChoiceReply | Refused, right: str) -> bool | None:
    return None if isinstance(reply, Refused) else reply.answer == right


def _prompt(
    question: Question, turns: Sequence[Message], options: dict[str, str], key: str, seed: int
) -> Prompt[ChoiceReply]:
    brief: dict[str, Any] = {
        "turns": [{"role": message.role, "content": message.content} for message in turns],
        "query": question.user_query,
        "options": options,
    }
    return Prompt("choice", INSTRUCTIONS, brief, ChoiceReply, key, seed)
