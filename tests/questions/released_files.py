"""Files in the released layout, made up for tests: any cell can be replaced, any bytes broken."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released_rows import COLUMNS

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "released"
REAL_CSV = REAL / "benchmark_text_row0.csv"
REAL_JSON = REAL / "benchmark_text_row0.json"
REAL_HISTORY = REAL / "chat_history_32k_250913_163134_persona521.prefix.json"
ABSENT = "the released files are not beside this checkout (../shared/data)"

Turn = dict[str, str]


def turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


TEA = [turn("user", "Polish this: my pot of\ngreen tea, as ever."), turn("assistant", "My usual pot of green tea.")]
COFFEE = [turn("user", "Polish this: no more tea, only coffee."), turn("assistant", "Only coffee from now on.")]
FORGET = [
    turn("user", "Where could I sit and read?"),
    turn("assistant", "In the chess club that you like."),
    turn("user", "Forget that I like chess."),
]
CHATTER = [turn("user", "What is seven times six?"), turn("assistant", "Forty-two.")]
PROFILE = turn("system", "You help Ann, a nurse.")


def cells(person: int = 7, **changed: str) -> dict[str, str]:
    """The cells of a plausible row."""
    values = dict.fromkeys(COLUMNS, "")
    values |= {
        "persona_id": str(person),
        "chat_history_32k_link": f"data/chat_history_32k/chat_history_x_persona{person}.json",
        "chat_history_128k_link": f"data/chat_history_128k/chat_history_x_persona{person}.json",
        "raw_persona_file": f"data/raw_data/raw_data_x_persona{person}.json",
        "short_persona": repr({"persona": f'Nurse {person}\'s "sentence".'}),
        "expanded_persona": json.dumps({"name": "Ann", "age": 30, "location": {"city": "Kiel"}}, indent=2),
        "user_query": repr(turn("user", "What shall I drink?")),
        "correct_answer": "A pot of green tea.",
        "incorrect_answers": json.dumps(["A glass of milk, with honey.", "A beer.", "What you like."]),
        "topic_query": "Drinks",
        "preference": "Green tea",
        "topic_preference": "Drinks",
        "conversation_scenario": "personal_email",
        "pref_type": "neutral_preferences",
        "related_conversation_snippet": json.dumps(TEA),
        "who": "self",
        "updated": "False",
        "sensitive_info": "False",
    }
    values |= {column: "0" for column in COLUMNS if "token" in column}
    return values | changed


def snippet(turns: Sequence[Turn]) -> str:
    return json.dumps(turns, ensure_ascii=False)


def table(
    rows: Sequence[Mapping[str, str]], *, columns: Sequence[str] = COLUMNS, line_end: str = "\r\n", mark: str = ""
) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(columns)
    writer.writerows([[row[column] for column in columns] for row in rows])
    return (mark + text.getvalue()).encode()


def write_table(path: Path, rows: Sequence[Mapping[str, str]], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table(rows, **how))
    return path


def write_history(root: Path, person: int, turns: Sequence[Turn], size: str = "32k", **metadata: Any) -> Path:
    path = root / f"data/chat_history_{size}/chat_history_x_persona{person}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"total_messages": len(turns), "persona_id": person} | metadata
    path.write_text(json.dumps({"metadata": known, "chat_history": list(turns)}))
    return path


def small(root: Path) -> ReleasedConfig:
    """Persons 7 (tea, then coffee; forgets chess) and 8 (a row of a missing kind of evidence) to train, 9 to test; 9 has a
    training row too."""
    history = [PROFILE, *CHATTER, *TEA, *CHATTER, *FORGET, *COFFEE, *CHATTER]
    for person in (7, 8, 9):
        write_history(root, person, history)
    coffee = {
        "updated": "True", "prev_pref": "Green tea", "preference": "Coffee", "user_query": repr(turn("user", "And now?")),
        "related_conversation_snippet": snippet(COFFEE),
    }  # fmt: skip
    forget = {
        "updated": "True", "prev_pref": "Chess", "preference": "Do not remember Chess", "pref_type": "ask_to_forget",
        "related_conversation_snippet": snippet(FORGET), "user_query": repr(turn("user", "Where to?")),
    }  # fmt: skip
    private = {
        "preference": "sensitive_info", "pref_type": "sensitive_info", "sensitive_info": "True",
        "related_conversation_snippet": snippet([turn("user", "My number is 12 34 56 78, as I told you twice already.")]),
    }  # fmt: skip
    write_table(root / "text/train.csv", [cells(7), cells(8, **private), cells(7, **forget)])
    write_table(root / "text/val.csv", [cells(7, **coffee), cells(9)])
    write_table(root / "text/benchmark.csv", [cells(9), cells(9, **coffee)])
    return ReleasedConfig(root=str(root), training=("text/train.csv", "text/val.csv"), benchmark="text/benchmark.csv")
