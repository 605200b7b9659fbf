"""The encodings of single cells in released tables.

They are mixed: `user_query` and `short_persona` are Python dict literals, `expanded_persona`, `incorrect_answers` and
`related_conversation_snippet` are JSON, flags are `True`/`False`, no value is an empty cell.
"""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any, NoReturn

LITERALS = ("short_persona", "user_query")
"""Columns whose cells are Python literals (what `str(dict)` gives)."""
JSONS = ("expanded_persona", "incorrect_answers", "related_conversation_snippet")
"""Columns whose cells are JSON."""
FLAGS = ("updated", "sensitive_info")
NUMBERS = (
    "persona_id",
    "total_tokens_in_chat_history_32k",
    "total_tokens_in_chat_history_128k",
    "distance_from_related_snippet_to_query_32k",
    "distance_from_related_snippet_to_query_128k",
    "num_persona_relevant_tokens_32k",
    "num_persona_irrelevant_tokens_32k",
    "num_persona_relevant_tokens_128k",
    "num_persona_irrelevant_tokens_128k",
)
MAX_LITERAL = 4_000_000
"""Characters of a cell that are given to Python's parser; released ones have a few hundred."""
MAX_NUMBER = 2**62


class CellError(ValueError):
    """A cell that cannot be read; `kind` names it in `released_checks.KINDS`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def decode(column: str, text: str) -> Any:
    """The value of a cell. Raises `CellError`."""
    if "\0" in text:
        raise CellError("nul_byte", f"a NUL byte at character {text.index(chr(0))}; the file was damaged")
    if column in LITERALS:
        # A sentence without the dict around it is unambiguous.
        return _container(column, text) if text.lstrip()[:1] == "{" else text
    if column in JSONS:
        return _container(column, text)
    if column in FLAGS:
        if text not in ("True", "False", ""):
            raise CellError("bad_value", f"{_cut(text)} is neither True nor False")
        return text == "True"
    if column in NUMBERS:
        return _number(column, text)
    return text


_KINDS: dict[str, tuple[type, ...]] = {
    "short_persona": (dict,),
    "user_query": (dict,),
    "expanded_persona": (dict,),
    "incorrect_answers": (list,),
    "related_conversation_snippet": (list, dict, str),
}


def _container(column: str, text: str) -> Any:
    kinds = _KINDS[column]
    if not text:
        return kinds[0]()
    literal = column in LITERALS
    first, second = (_literal, _json) if literal else (_json, _literal)
    try:
        value: Any = first(text)
    except CellError as error:
        try:
            value = second(text)
        except CellError:
            raise error from None
    if type(value) not in kinds:
        broken = "broken_literal" if literal else "broken_json"
        raise CellError(broken, f"a {type(value).__name__} instead of a {kinds[0].__name__}")
    try:
        encode(column, value).encode()
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise CellError("bad_value", f"holds what is no text, number or list: {error}") from error
    if column == "incorrect_answers" and not all(isinstance(item, str) for item in value):
        raise CellError("bad_value", "not all answers are texts")
    if column == "user_query" and not isinstance(value.get("content"), str | list):
        raise CellError("bad_value", "a message without content")
    if column == "short_persona" and not isinstance(value.get("persona"), str):
        raise CellError("bad_value", "no `persona` with a text")
    return value


def _literal(text: str) -> Any:
    if len(text) > MAX_LITERAL:
        raise CellError("broken_literal", f"{len(text)} characters; at most {MAX_LITERAL} are parsed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown backslash escape is a warning, and then the backslash
            return ast.literal_eval(text.strip())
    except SyntaxError as error:
        raise CellError("broken_literal", f"not a Python literal: {error.msg}, {_near(text, error)}") from error
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        raise CellError("broken_literal", f"not a Python literal: {_cut(str(error))}") from error


def _near(text: str, error: SyntaxError) -> str:
    line, column = error.lineno or 1, error.offset or 1
    place = sum(len(part) for part in text.splitlines(keepends=True)[: line - 1]) + column
    return f"at character {min(place, len(text))} of {len(text)}"


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise CellError("broken_json", f"not JSON: {error.msg} at character {error.pos + 1} of {len(text)}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply; an integer of thousands of digits
        raise CellError("broken_json", f"not JSON: {_cut(str(error))}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _number(column: str, text: str) -> int | None:
    if not text and column != "persona_id":
        return None
    whole = text[:-2] if text.endswith(".0") else text  # pandas writes integers beside an empty cell so
    digits = whole.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) < MAX_NUMBER):
        raise CellError("bad_value", f"{_cut(text)} is not a whole number")
    return int(whole)


def encode(column: str, value: Any) -> str:
    """The cell of a value, as the released writer spells it."""
    if column in LITERALS:
        return value if isinstance(value, str) else repr(value)
    if column in JSONS:
        # As the released writer does it: only the persona is indented; no answers and no snippet are an empty cell.
        indent = 2 if column == "expanded_persona" else None
        return json.dumps(value, ensure_ascii=False, indent=indent) if value else ""
    return "" if value is None else str(value)


def is_expected(column: str, text: str) -> bool:
    """Whether a cell that can be read is in the encoding that the released files use for its column."""
    if not text or (column in LITERALS and text.lstrip()[:1] != "{"):
        return True
    try:
        (_literal if column in LITERALS else _json)(text)
    except CellError:
        return False
    return True


def _cut(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
