"""What a benchmark asks, as files for people who run their systems without our code.

    questions.jsonl       one question a line: who asks, what, and the options under letters in each order
    histories/*.json      what each person said, in PersonaMem-v2's chat format
    benchmark.json        which benchmark this is, and how many answers are expected

Nothing here tells the right answer: no label, no evidence, no preference, no type, and no session borders, which would
show where something is revealed. Questions about what should be forgotten look like all others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.asked import ask
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.questions.released import history_json
from personamem_pipeline.records import Question
from personamem_pipeline.store import scratch_directory

QUESTIONS, HISTORIES, ABOUT = "questions.jsonl", "histories", "benchmark.json"


def hand_out(source: Source, target: Path) -> tuple[int, int]:
    """Write the files to `target`, which must not exist or be empty; it appears when all is written.

    Returns (questions, people).
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError("there is something already", where=target, expected="a directory that is new or empty",
                        remedy="give another --out, or remove it")  # fmt: skip
    people = 0
    with scratch_directory(target) as scratch:
        (scratch / HISTORIES).mkdir()
        for person in source.people():
            path = scratch / history_name(person.person_id)
            path.write_text(history_json(person.history.messages), encoding="utf-8")
            people += 1
        with (scratch / QUESTIONS).open("w", encoding="utf-8") as file:
            for question in source.questions:
                file.write(json.dumps(question_row(question, source.seed, source.orders), ensure_ascii=False) + "\n")
        about = {
            "benchmark": Path(source.where).name,
            "seed": source.seed,
            "orders": source.orders,
            "questions": len(source.questions),
            "people": people,
        }
        (scratch / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        scratch.chmod(0o755)  # made for others to read
        if target.exists():
            target.rmdir()  # empty: a directory is renamed onto nothing
    return len(source.questions), people


def question_row(question: Question, seed: int, orders: int) -> dict[str, Any]:
    """One line of questions.jsonl. `options[order]` are the four texts under their letters."""
    return {
        "question_id": question.question_id,
        "person_id": question.person_id,
        "history": history_name(question.person_id),
        "user_query": question.user_query,
        "options": [dict(ask(question, seed, order).options) for order in range(orders)],
    }


def history_name(person_id: str) -> str:
    """Where a person's chat is, relative to the directory; an id is no path, whatever it holds."""
    return f"{HISTORIES}/{quote(person_id, safe='')}.json"
