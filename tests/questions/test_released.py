"""The released history format. What cannot be read is in tests/test_bad_input.py, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import UserError
from personamem_pipeline.questions.released import ROLES, history_json, read_history

RELEASED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "released"
PREFIX = RELEASED / "chat_history_32k_250913_163134_persona521.prefix.json"
CHAT = [
    {"role": "system", "content": "persona: a nurse"},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi.\nYes?"},
]


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_the_profile_is_dropped_and_the_turn_ids_stay_places_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.json", {"metadata": {"persona_id": 7}, "chat_history": CHAT})
    history = read_history(path)
    assert [(m.turn_id, m.role, m.content) for m in history.messages] == [
        ("m0001", "user", "Hello"),
        ("m0002", "assistant", "Hi.\nYes?"),
    ]
    assert (history.profile, history.metadata) == ("persona: a nurse", {"persona_id": 7})
    kept = read_history(path, keep_profile=True)
    assert [m.turn_id for m in kept.messages] == ["m0000", "m0001", "m0002"]
    assert kept.messages[1:] == history.messages and kept.profile == history.profile


def test_a_bare_list_a_byte_order_mark_and_text_parts_are_read(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    path = tmp_path / "chat.json"
    path.write_text("\ufeff" + json.dumps([{"role": "user", "content": parts}, *CHAT]), encoding="utf-8")
    history = read_history(path)
    assert history.messages[0].content == "one\ntwo"
    # Only the message that opens the file is the profile.
    assert history.messages[1].role == "system" and history.profile == "" and history.metadata == {}


TEXT = st.text(st.characters(codec="utf-8"))
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": TEXT}), min_size=1)


@given(messages=MESSAGES)
def test_what_is_kept_is_what_was_written(messages: list[dict[str, str]], tmp_path_factory: Any) -> None:
    path = write(tmp_path_factory.mktemp("chat") / "chat.json", {"chat_history": messages})
    read = read_history(path, keep_profile=True).messages
    assert [{"role": message.role, "content": message.content} for message in read] == messages


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"chat_history": "Hello"}, ""),
        ({"chat_history": ["Hello"]}, ": message 0"),
        ({"chat_history": [*CHAT, {"content": "Hello"}]}, ": message 3"),
        ({"chat_history": [*CHAT, {"role": "user"}]}, ": message 3"),
        ({"chat_history": [*CHAT, {"role": ["user"], "content": "Hello"}]}, ": message 3"),
        ({"chat_history": [*CHAT, {"role": "user", "content": [{"type": "text"}]}]}, ": message 3, part 0"),
        ({"chat_history": [{"role": "user", "content": "\ud83d"}]}, ": message 0"),  # half of an emoji
        ({"chat_history": CHAT[:1]}, ""),
        (3, ""),
    ],
)
def test_the_place_is_named(tmp_path: Path, content: Any, place: str) -> None:
    path = write(tmp_path / "chat.json", content)
    with pytest.raises(UserError) as raised:
        read_history(path)
    assert raised.value.where == f"{path}{place}"
    assert raised.value.expected and raised.value.remedy


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_bytes(b'[{"role": "user", "content": "caf\xe9"}]')
    with pytest.raises(UserError, match="not UTF-8: byte 33 is 0xe9"):
        read_history(path)


@pytest.mark.skipif(not PREFIX.is_file(), reason="the released files are not beside this checkout (../shared/data)")
def test_the_real_file() -> None:
    history = read_history(PREFIX)
    assert [message.role for message in history.messages] == ["user", "assistant"] * 3 + ["user"]
    assert "short_persona" in history.profile
    # Written again, it is the same file.
    assert history_json(history.messages, history.metadata, profile=history.profile).encode() == PREFIX.read_bytes()
    assert history.metadata["persona_id"] == 521 and history.metadata["final_token_count"] == 31842
