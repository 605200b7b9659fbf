"""One released row: its encodings, and that it is written back as it was read."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.questions.released_cells import FLAGS, JSONS, LITERALS, NUMBERS
from personamem_pipeline.questions.released_rows import COLUMNS, ReleasedRow, Unreadable
from tests.questions.released_files import ABSENT, REAL_CSV, REAL_JSON, cells, turn

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
PLAIN = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXT
TREE = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
SPACED = st.sampled_from(["{}", " {}", "{}\n"])


def _value(column: str) -> st.SearchStrategy[str]:
    if column in LITERALS:
        key = "persona" if column == "short_persona" else "content"
        written = st.builds(lambda text, more: repr(more | {key: text}), TEXT, st.dictionaries(TEXT, TREE, max_size=2))
        return st.builds(str.format, SPACED, written) | TEXT.filter(lambda text: not text.lstrip().startswith("{"))
    if column in JSONS:
        kind = {
            "incorrect_answers": st.lists(TEXT, max_size=4),
            "related_conversation_snippet": TREE.filter(lambda value: isinstance(value, dict | list | str)),
            "expanded_persona": st.dictionaries(TEXT, TREE, max_size=3),
        }[column]
        text = st.builds(lambda value, ascii_, indent: json.dumps(value, ensure_ascii=ascii_, indent=indent), kind,
                         st.booleans(), st.sampled_from([None, 2]))  # fmt: skip
        return text | st.just("")
    if column in FLAGS:
        return st.sampled_from(["True", "False", ""])
    if column in NUMBERS:
        number = st.integers(0, 10**9).flatmap(lambda n: st.sampled_from([str(n), f"{n}.0", f"0{n}"]))
        return number if column == "persona_id" else number | st.just("")
    return TEXT


ROWS = st.fixed_dictionaries({column: _value(column) for column in COLUMNS})


@given(written=ROWS)
def test_a_row_is_written_back_as_it_was_read(written: dict[str, str]) -> None:
    row = ReleasedRow.from_cells(written)
    assert row.cells() == written
    assert ReleasedRow.model_validate_json(row.model_dump_json()).cells() == written
    again = ReleasedRow.from_json(json.loads(json.dumps(row.to_json())))
    assert again.cells() == written


def test_there_are_27_columns() -> None:
    assert len(COLUMNS) == 27 and COLUMNS[0] == "persona_id" and COLUMNS[18] == "sensitive_info"


def test_every_encoding_is_decoded() -> None:
    row = ReleasedRow.from_cells(cells(7, distance_from_related_snippet_to_query_32k="28768.0", updated="True"))
    assert row.sentence == 'Nurse 7\'s "sentence".' and row.query == "What shall I drink?"
    assert row.incorrect_answers[2] == "What you like." and row.expanded_persona["location"] == {"city": "Kiel"}
    assert row.turns[0] == ("user", "Polish this: my pot of\ngreen tea, as ever.")
    assert row.updated is True and row.sensitive_info is False and row.prev_pref == ""
    assert row.distance_from_related_snippet_to_query_32k == 28768
    assert set(row.spelling) == {"expanded_persona", "distance_from_related_snippet_to_query_32k"} - {
        "expanded_persona"
    }
    assert not row.other_encodings


@pytest.mark.parametrize(
    ("column", "text", "kind"),
    [
        ("user_query", "{'role': 'user', 'content': 'cut o", "broken_literal"),
        ("user_query", "{'role': __import__('os').getcwd()}", "broken_literal"),
        ("user_query", "{" + "-" * 100_000 + "1: 2}", "broken_literal"),
        ("user_query", "{'role': 'user'}", "bad_value"),
        ("short_persona", "{'persona': 3}", "bad_value"),
        ("short_persona", "{'persona', 'a set'}", "broken_literal"),
        ("incorrect_answers", '["one", "two"', "broken_json"),
        ("incorrect_answers", "[" * 100_000, "broken_json"),
        ("incorrect_answers", '["one", 2]', "bad_value"),
        ("incorrect_answers", '{"a": "one"}', "broken_json"),
        ("related_conversation_snippet", '[{"role": "user", "content": "\\ud800"}]', "bad_value"),
        ("expanded_persona", '{"age": NaN}', "broken_json"),
        ("updated", "yes", "bad_value"),
        ("persona_id", "", "bad_value"),
        ("persona_id", "5e3", "bad_value"),
        ("persona_id", "9" * 5000, "bad_value"),
        ("total_tokens_in_chat_history_32k", "many", "bad_value"),
        ("preference", "tea\0", "nul_byte"),
    ],
)
def test_what_cannot_be_read_is_named(column: str, text: str, kind: str) -> None:
    with pytest.raises(Unreadable) as raised:
        ReleasedRow.from_cells(cells(7, **{column: text}))
    assert [(fault.kind, fault.column) for fault in raised.value.faults] == [(kind, column)]
    assert len(raised.value.faults[0].detail) < 300


def test_all_broken_cells_of_a_row_are_named() -> None:
    with pytest.raises(Unreadable) as raised:
        ReleasedRow.from_cells(cells(7, updated="?", user_query="{"))
    assert [fault.column for fault in raised.value.faults] == ["user_query", "updated"]


def test_the_other_encoding_is_read_and_told() -> None:
    row = ReleasedRow.from_cells(
        cells(7, user_query='{"role": "user", "content": "Hm?", "seen": null}', incorrect_answers="['a', 'b\\'s', 'c']")
    )
    assert row.query == "Hm?" and row.incorrect_answers == ("a", "b's", "c")
    assert {fault.column for fault in row.other_encodings} == {"user_query", "incorrect_answers"}
    plain = ReleasedRow.from_cells(cells(7, user_query="Just a text?", short_persona="A nurse."))
    assert (plain.query, plain.sentence, plain.other_encodings) == ("Just a text?", "A nurse.", ())


def test_a_query_of_parts_is_text_unless_there_is_an_image() -> None:
    text = {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    image = {
        "role": "user",
        "content": [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "x"}}],
    }
    assert ReleasedRow.from_cells(cells(7, user_query=repr(text))).query == "one\ntwo"
    assert ReleasedRow.from_cells(cells(7, user_query=repr(image))).query is None


@pytest.mark.parametrize(
    ("value", "turns"),
    [
        ([turn("user", "a"), {"role": "assistant", "content": ""}], [("user", "a")]),
        ({"conversations": [turn("user", "a")]}, [("user", "a")]),
        (["a", ["b"]], [("", "a"), ("", "b")]),
        ("a", [("", "a")]),
        ([], []),
    ],
)
def test_turns_are_taken_from_any_form_of_snippet(value: object, turns: list[tuple[str, str]]) -> None:
    assert ReleasedRow.from_cells(cells(7, related_conversation_snippet=json.dumps(value))).turns == turns


def test_json_with_other_names_is_refused() -> None:
    values = ReleasedRow.from_cells(cells()).to_json()
    with pytest.raises(Unreadable, match="who: missing"):
        ReleasedRow.from_json({name: value for name, value in values.items() if name != "who"})


@pytest.mark.skipif(not REAL_CSV.is_file(), reason=ABSENT)
def test_the_real_row_byte_by_byte() -> None:
    header, values = csv.reader(io.StringIO(REAL_CSV.read_bytes().decode(), newline=""))
    assert tuple(header) == COLUMNS
    row = ReleasedRow.from_cells(dict(zip(header, values, strict=True)))
    assert row.spelling == {} and row.persona_id == 521 and row.total_tokens_in_chat_history_128k == 104178
    assert len(row.incorrect_answers) == 3 and [role for role, _ in row.turns] == ["user", "assistant"] * 2
    twin = ReleasedRow.from_json(json.loads(REAL_JSON.read_bytes()))
    assert twin == row
    assert json.dumps(twin.to_json(), ensure_ascii=False, indent=1).encode() == REAL_JSON.read_bytes()
