"""What can be wrong with released rows, by name, and the checks that need nothing but one row.

A *lost* row cannot become a question at all; a *fault* is a row (or file) that is read and whose flaw a user should know of;
a *note* is a spelling that we bring into one form. Strict reading refuses lost rows and faults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from personamem_pipeline.questions.released_rows import ReleasedRow
from personamem_pipeline.records import CONVERSATION_TYPES, QUESTION_TYPES, ConversationType, QuestionType, Who

Weight = Literal["lost", "fault", "note"]
KINDS: dict[str, tuple[Weight, str]] = {
    "broken_row": ("lost", "a record that is not 27 cells (an unclosed quote, a missing comma)"),
    "not_utf8": ("lost", "bytes that are no UTF-8"),
    "nul_byte": ("lost", "a NUL byte in a cell"),
    "broken_literal": ("lost", "a cell that is no Python literal where the released files have one"),
    "broken_json": ("lost", "a cell that is no JSON where the released files have it"),
    "bad_value": ("lost", "a number, flag or structure that is none"),
    "unknown_type": ("lost", "a pref_type that PersonaMem-v2 does not know"),
    "unknown_scenario": ("lost", "a conversation_scenario that PersonaMem-v2 does not know"),
    "unknown_who": ("lost", "a `who` that is neither self nor others"),
    "empty_text": ("lost", "no query, correct answer or preference"),
    "image_query": ("lost", "a query with an image; only text is read"),
    "wrong_option_count": ("lost", "not three incorrect answers"),
    "right_option_twice": ("lost", "the correct answer is among the incorrect ones"),
    "missing_history": ("lost", "the linked history is not there"),
    "unreadable_history": ("lost", "the linked history cannot be read"),
    "split_overlap": ("lost", "a training row of a person who is in the benchmark"),
    "shuffled_columns": ("fault", "the columns are in another order; they are read by name"),
    "no_rows": ("fault", "a table without rows"),
    "other_encoding": ("fault", "JSON in place of a Python literal, or the other way round; it is read"),
    "duplicate_options": ("fault", "two of the incorrect answers are the same"),
    "duplicate_row": ("fault", "the same person, query and options as an earlier row"),
    "duplicate_query": ("fault", "the same person and query as an earlier row, with other options"),
    "duplicate_persona": ("fault", "two persons with the same seed sentence"),
    "conflicting_person": ("fault", "a person's rows disagree about the profile or the history"),
    "shared_person": ("fault", "a person in two training tables"),
    "cut_history": ("fault", "the history has not as many messages as its metadata say"),
    "foreign_history": ("fault", "the history's metadata name another person"),
    "no_evidence": ("fault", "the snippet is not in the history; the question has no evidence"),
    "partial_evidence": ("fault", "only parts of the snippet are in the history"),
    "update_without_previous": ("fault", "`updated` without a previous preference"),
    "previous_without_update": ("fault", "a previous preference without `updated`"),
    "forget_without_previous": ("fault", "a forget row that does not say what is to be forgotten"),
    "forget_without_request": ("fault", "a forget row whose snippet does not end on a user's message"),
    "length_giveaway": ("fault", "the correct option is uniquely longest, or shortest, in over 30% of a type's rows"),
    "spelling_variant": ("note", "a type name in another spelling; it is brought into one"),
}
"""Name of a flaw -> (its weight, what it means)."""

VARIANTS: dict[str, QuestionType] = {
    "neutral_preference": "neutral_preferences",
    "sensitive_information": "sensitive_info",
}
"""Spellings in the released documents and code -> the one in the released tables."""
FORGET = "Do not remember "
"""How the released preference of a forget row begins; what follows is what was forgotten (`prev_pref` has it too)."""


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong, by its name in `KINDS`."""

    kind: str
    detail: str

    @property
    def loses(self) -> bool:
        return KINDS[self.kind][0] == "lost"


def question_type(row: ReleasedRow) -> QuestionType | None:
    """The row's type in one spelling; None for an unknown one."""
    name = VARIANTS.get(row.pref_type, row.pref_type)
    return next((known for known in QUESTION_TYPES if known == name), None)


def scenario(row: ReleasedRow) -> ConversationType | None:
    return next((known for known in CONVERSATION_TYPES if known == row.conversation_scenario), None)


def owner(row: ReleasedRow) -> Who | None:
    return "self" if row.who == "self" else "others" if row.who == "others" else None


def forgotten(row: ReleasedRow) -> str:
    """What a forget row asks to forget."""
    return row.prev_pref or row.preference.removeprefix(FORGET)


def row_flaws(row: ReleasedRow) -> list[Flaw]:
    """What is wrong with a row, as far as the row alone shows it."""
    flaws = [Flaw(fault.kind, f"{fault.column}: {fault.detail}") for fault in row.other_encodings]
    kind, query = question_type(row), row.query
    if kind is None:
        flaws.append(Flaw("unknown_type", f"pref_type {row.pref_type[:60]!r}"))
    elif kind != row.pref_type:
        flaws.append(Flaw("spelling_variant", f"pref_type {row.pref_type!r}"))
    if scenario(row) is None:
        flaws.append(Flaw("unknown_scenario", f"conversation_scenario {row.conversation_scenario[:60]!r}"))
    if owner(row) is None:
        flaws.append(Flaw("unknown_who", f"who {row.who[:60]!r}"))
    if query is None:
        flaws.append(Flaw("image_query", "user_query has a part that is no text"))
    texts = {"user_query": query, "correct_answer": row.correct_answer, "preference": row.preference}
    flaws += [Flaw("empty_text", f"no {name}") for name, text in texts.items() if text is not None and not text.strip()]
    return flaws + _option_flaws(row) + _change_flaws(row, kind)


def _option_flaws(row: ReleasedRow) -> list[Flaw]:
    wrong = [text.strip() for text in row.incorrect_answers]
    flaws = []
    if len(wrong) != 3:
        flaws.append(Flaw("wrong_option_count", f"{len(wrong)} incorrect answers"))
    if row.correct_answer.strip() in wrong:
        flaws.append(Flaw("right_option_twice", "correct_answer is one of incorrect_answers"))
    if len(set(wrong)) < len(wrong):
        flaws.append(Flaw("duplicate_options", "incorrect_answers has the same text twice"))
    return flaws


def _change_flaws(row: ReleasedRow, kind: QuestionType | None) -> list[Flaw]:
    if kind == "ask_to_forget":
        flaws = (
            []
            if forgotten(row) != row.preference or row.prev_pref
            else [Flaw("forget_without_previous", "no prev_pref")]
        )
        turns = row.turns
        if turns and turns[-1][0] != "user":
            flaws.append(Flaw("forget_without_request", "the snippet ends on another's message than the user's"))
        return flaws
    if row.updated and not row.prev_pref:
        return [Flaw("update_without_previous", "no prev_pref")]
    if row.prev_pref and not row.updated:
        return [Flaw("previous_without_update", "updated is not True")]
    return []
