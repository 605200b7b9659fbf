"""Questions, evidence and open answers by hand, and a judge whose verdicts a test decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from personamem_pipeline.evaluation.judging.briefs import Brief
from personamem_pipeline.evaluation.records import Judgement, OpenAnswer
from personamem_pipeline.records import Certificate, History, Message, Preference, Question, Session

LIKES = ("green tea", "soft jazz", "slow hiking", "old maps")
TOPICS = ("drinks", "music", "sports", "books")
KINDS = ("neutral_preferences", "stereotypical_pref", "anti_stereotypical_pref", "ask_to_forget")


def message(question_id: str, content: str | None = None) -> Message:
    return Message(
        turn_id=f"{question_id}.turn",
        role="user",
        content=f"{question_id}: what I have." if content is None else content,
    )


def question(index: int, **changes: object) -> Question:
    """Question `index` of person `index // 4`; of four, the last is one to forget."""
    place, own = index % 4, f"p{index // 4}.q{index % 4}"
    like = LIKES[place]
    others = [text for text in (*LIKES, "long trains") if text != like][:3]
    return Question(
        question_id=own, person_id=f"p{index // 4}", split="benchmark", user_query=f"Which {TOPICS[place]} today?",
        correct_answer=f"You could try {like}.", incorrect_answers=tuple(f"You could try {o}." for o in others),
        incorrect_kinds=("other", "other", "generic"), topic=TOPICS[place], preference=like, preference_id=f"{own}.p",
        pref_type=KINDS[place], who="self", updated=False, prev_pref="", conversation_scenario="chat_message",
        wording="seen", evidence=(f"{own}.turn",), author="hand",
        certificate=Certificate(
            readers=("hand",), blind_accuracy=0.25, blind_by_reader=(0.25,), oracle_accuracy=1.0, update_accuracy=None,
            swapped_accuracy=0.25, query_leak=False, implicitness=1.0, longest_guess=0.0, shortest_guess=0.0,
            admitted=True, reasons=(),
        ),
    ).model_copy(update=changes)  # fmt: skip


def questions(count: int) -> list[Question]:
    return [question(index) for index in range(count)]


def evidence(asked: Sequence[Question]) -> dict[str, tuple[Message, ...]]:
    return {row.question_id: (message(row.question_id),) for row in asked}


def histories(asked: Sequence[Question]) -> list[History]:
    """One history a person: the evidence turns, and one turn that is none."""
    found = []
    for who in sorted({row.person_id for row in asked}):
        own = [row for row in asked if row.person_id == who]
        turns = [message(row.question_id) for row in own]
        idle = Message(turn_id=f"{who}.idle", role="user", content="What is the capital of Norway?")
        held = Preference(preference_id="x", topic="drinks", text="green tea", pref_type="neutral_preferences")
        session = Session(
            session_id=f"{who}.s", person_id=who, time="2024-01-01", conversation_type="chat_message", event="reveals",
            wording="seen", preference=held, messages=(*turns, idle), evidence=tuple(t.turn_id for t in turns),
            author="hand",
        )  # fmt: skip
        found.append(History(person_id=who, split="benchmark", sessions=(session,), tokens=9, tokenizer="words"))
    return found


def answer(asked: Question, text: str, system: str = "grpo", **changes: object) -> OpenAnswer:
    names = ("question_id", "person_id", "pref_type", "who", "updated", "wording", "conversation_scenario", "topic")
    return OpenAnswer(
        **{name: getattr(asked, name) for name in names}, distance=3, system=system, answer=text, judgements=(),
        score=None, finished=True, problem="", input_tokens=1, output_tokens=1,
    ).model_copy(update=changes)  # fmt: skip


@dataclass
class Scripted:
    """A judge by rule; None: no verdict. Keeps what it was asked."""

    name: str
    rule: Callable[[Brief], float | None]
    seen: list[Brief] = field(default_factory=list)

    def judgements(self, briefs: Sequence[Brief], tell: object = None) -> list[Judgement]:
        self.seen += briefs
        return [Judgement(judge=self.name, score=self.rule(item), reason="by rule") for item in briefs]
