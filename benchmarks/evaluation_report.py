"""(d) A report of 5,000 questions from stored outputs: reading, scoring, page, Parquet. People and replies are made up."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from benchmarks.evaluation_setup import Bench, Part, timed
from personamem_pipeline.evaluation import assemble, results
from personamem_pipeline.evaluation.asked import Asked, asked
from personamem_pipeline.evaluation.journal import Journal
from personamem_pipeline.evaluation.records import Judgement, MemoryStep, OpenAnswer, Outputs, Reply, Role
from personamem_pipeline.evaluation.scoring.answers import answer_key, answers, open_answers
from personamem_pipeline.evaluation.scoring.runs import SystemRun
from personamem_pipeline.evaluation.source import Batch, Source
from personamem_pipeline.memory.prompts import boxed
from personamem_pipeline.presets import EvaluationConfig
from personamem_pipeline.questions.options import LETTERS
from personamem_pipeline.questions.write import UNCERTIFIED
from personamem_pipeline.records import ConversationType, History, Message, Question, QuestionType, Session
from personamem_pipeline.seeds import fraction, stable_int

PERSONS, QUESTIONS, ORDERS, BATCH = 200, 25, 4, 100
WRITE_TURNS = 8
SKILLS: dict[str, tuple[Role, float]] = {
    "grpo": ("model", 0.60), "sft": ("model", 0.55), "base": ("model", 0.35), "oracle": ("control", 0.75),
    "swapped_history": ("control", 0.30), "no_history": ("control", 0.28), "persona_only": ("control", 0.31),
    "query_aware": ("control", 0.62), "full_context": ("baseline", 0.50), "bm25": ("baseline", 0.45),
    "embedding": ("baseline", 0.47), "mem0": ("external", 0.44),
}  # fmt: skip
"""System -> (role, share of replies that are right). Twelve of them."""
TYPES, TALKS = get_args(QuestionType), get_args(ConversationType)


def measure(bench: Bench, persons: int = PERSONS) -> Part:
    """Seconds from journals on the disk to a report's directory; twice, and the bytes must be equal."""
    config, source = EvaluationConfig(), made_up(persons)
    with tempfile.TemporaryDirectory(prefix="evaluation-") as scratch:
        journals = {name: store(Path(scratch), name, source) for name in SKILLS}
        stored = sum(journal.path.stat().st_size for journal in journals.values())
        runs, reading = timed(lambda: read(source, journals))
        found, scoring = timed(
            lambda: results.build(
                source, runs, resamples=config.bootstrap, open_threshold=config.open_threshold,
                shown_questions=config.shown_questions,
            )
        )  # fmt: skip
        target = Path(scratch) / "report"
        _, writing = timed(lambda: assemble.write(target, found, runs, curves={}, pooled=None))
        page = (target / "report.html").stat().st_size
        before = _digests(target)
        assemble.write(target, found, runs, curves={}, pooled=None)
        if _digests(target) != before:
            raise SystemExit("the same results gave other bytes")
    count = sum(len(run.answers) for run in runs.values())
    seconds = {"reading": reading, "scoring": scoring, "writing": writing}
    return Part(
        f"(d) a report of {len(source.questions):,} questions, {ORDERS} orders, {len(SKILLS)} systems: {count:,} answers",
        [
            ["step", "s"],
            [f"journals ({stored / 1e6:.0f} MB) read, parsed, labelled", f"{reading:.1f}"],
            [f"figures, {config.bootstrap:,} resamples", f"{scoring:.1f}"],
            [f"page ({page / 1e6:.1f} MB), plots, JSON, Parquet", f"{writing:.1f}"],
            ["all", f"{sum(seconds.values()):.1f}"],
        ],
        {"seconds": seconds, "answers": count, "questions": len(source.questions), "page_bytes": page},
        ("Written twice, the report's files are byte-equal. People, replies and verdicts are made up.",),
    )


def made_up(persons: int) -> Source:
    """People with `QUESTIONS` questions each, of every type; a history is one session a question."""
    histories = [_history(f"p{index:04d}") for index in range(persons)]
    questions = [_question(history.person_id, number) for history in histories for number in range(QUESTIONS)]
    return Source(
        questions=sorted(questions, key=lambda question: question.question_id),
        histories=lambda: iter(histories),
        profiles={},
        orders=ORDERS,
        seed=0,
        people_per_batch=BATCH,
        where="made up",
    )


def _history(person: str) -> History:
    sessions = tuple(
        Session(
            session_id=f"{person}.s{number}", person_id=person, time=f"2026-01-{number + 1:02d}",
            conversation_type=TALKS[number % len(TALKS)], event="small_talk", preference=None, wording="seen",
            messages=(
                Message(turn_id=f"{person}.s{number}.0", role="user", content=f"Words about topic {number}. " * 8),
                Message(turn_id=f"{person}.s{number}.1", role="assistant", content="An answer of some length. " * 8),
            ),
            evidence=(f"{person}.s{number}.0",), author="benchmark",
        )
        for number in range(QUESTIONS)
    )  # fmt: skip
    return History(person_id=person, split="benchmark", sessions=sessions, tokens=2500, tokenizer="words")


def _question(person: str, number: int) -> Question:
    kind = TYPES[number % len(TYPES)]
    return Question(
        question_id=f"{person}.q{number:02d}", person_id=person, split="benchmark", user_query=f"What about {number}?",
        correct_answer=f"Take the right thing {number} of {person}",
        incorrect_answers=(f"Take a thing {number}", f"Take another thing {number}", f"Take something else {number}"),
        incorrect_kinds=("other", "generic", "leak" if kind == "sensitive_info" else "other"),
        topic=f"topic {number % 10}", preference=f"thing {number}", preference_id=f"{person}.p{number}",
        pref_type=kind, who="others" if number % 5 == 0 else "self", updated=number % 3 == 0, prev_pref="",
        conversation_scenario=TALKS[number % len(TALKS)], wording="unseen" if number % 4 == 0 else "seen",
        evidence=(f"{person}.s{number}.0",), author="benchmark", certificate=UNCERTIFIED,
    )  # fmt: skip


def store(directory: Path, name: str, source: Source) -> Journal:
    """A journal of made-up replies, as a finished evaluation leaves it."""
    journal = Journal.of(directory, name, {"benchmark": "made up"})
    for batch in source.batches():
        replies = [
            Reply(
                question_id=item.question.question_id, order=item.order, output=_said(name, item),
                input_tokens=400 if name != "full_context" else 2600, output_tokens=20,
            )
            for item in asked(batch)
        ]  # fmt: skip
        if SKILLS[name][0] == "model":
            replies += [
                Reply(question_id=question.question_id, order=None, output="- a line of the memory\nTake that thing.")
                for question in batch.questions
            ]
        journal.append(batch.index, Outputs(replies=tuple(replies), steps=_steps(name, batch)))
    return journal


def _said(name: str, item: Asked) -> str:
    drawn = fraction(0, "made-up reply", name, item.question.question_id, item.order)
    if drawn < SKILLS[name][1]:
        return f"- thing: it was said\n{boxed(item.right)}"
    letter = LETTERS[stable_int("any letter", name, item.question.question_id, item.order) % len(LETTERS)]
    return boxed(letter) if drawn < 0.97 else "Hm."


def _steps(name: str, batch: Batch) -> tuple[MemoryStep, ...]:
    if SKILLS[name][0] != "model":
        return ()
    return tuple(
        MemoryStep(
            subject=person.person_id, index=index, kept="", input_tokens=700, output_tokens=60, memory_tokens=60,
            turns=tuple(message.turn_id for message in person.history.messages[6 * index : 6 * index + 6]),
            memory="\n".join(f"- topic {line}: what was said of it" for line in range(index + 4)),
        )
        for person in batch.people for index in range(WRITE_TURNS)
    )  # fmt: skip


def read(source: Source, journals: Mapping[str, Journal]) -> dict[str, SystemRun]:
    """The systems' labelled answers; open ones with stored verdicts, as the endpoint's cache gives them."""
    key, found = answer_key(source), {}
    for name, journal in journals.items():
        outputs = list(journal)
        replies = [reply for batch in outputs for reply in batch.replies]
        role = SKILLS[name][0]
        reading = "memory" if role == "model" else name
        found[name] = SystemRun(
            name, name.replace("_", " "), role, reading, name if role == "model" else "grpo",
            answers(name, key, replies),
            [_judged(row) for row in open_answers(name, key, replies)],
            [step for batch in outputs for step in batch.steps],
            memory_cap=80 if role == "model" else None,
        )  # fmt: skip
    return found


def _judged(row: OpenAnswer) -> OpenAnswer:
    scores = [round(fraction(0, "made-up verdict", judge, row.system, row.question_id), 1) for judge in ("one", "two")]
    verdicts = tuple(
        Judgement(judge=judge, score=score, reason="made up")
        for judge, score in zip(("one", "two"), scores, strict=True)
    )
    return row.model_copy(update={"judgements": verdicts, "score": sum(scores) / 2})


def _digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
