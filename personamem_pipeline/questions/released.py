"""Reading chat histories in the format in which PersonaMem-v2 was released.

    {"metadata": {...}, "chat_history": [{"role": "user", "content": "..."}, ...]}

A bare list of messages is read too. The first message of a released history is a system message with the persona's
profile; a reader is tested without it, so it is dropped unless asked for, as the released agentic code does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from personamem_pipeline.errors import UserError
from personamem_pipeline.records import Message

Role = Literal["system", "user", "assistant"]
ROLES = get_args(Role)
FORMAT = '{"chat_history": [{"role": "user", "content": "Hello"}, ...]}'


@dataclass(frozen=True)
class ReleasedHistory:
    """A history as it stands in a file."""

    messages: tuple[Message, ...]
    """`turn_id` is the message's place in the file, `m0000` the first, whether or not the profile was dropped."""
    profile: str
    """The system message that opens the file; empty when there is none."""
    metadata: dict[str, Any] = field(default_factory=dict)


def read_history(path: Path, *, keep_profile: bool = False) -> ReleasedHistory:
    """Read a history; `UserError` names the file and the message for anything that cannot be read as it stands."""
    value = _json(path)
    metadata = value.get("metadata") if isinstance(value, dict) else None
    messages = [_message(item, index, path) for index, item in enumerate(_items(value, path))]
    opens = bool(messages) and messages[0].role == "system"
    kept = messages[1:] if opens and not keep_profile else messages
    if not kept:
        raise UserError(
            "there are no messages" + (" after the profile" if opens else ""),
            where=path,
            expected=FORMAT,
            remedy="give a chat with at least one message",
        )
    profile = messages[0].content if opens else ""
    return ReleasedHistory(tuple(kept), profile, metadata if isinstance(metadata, dict) else {})


def history_json(messages: Sequence[Message], metadata: Mapping[str, Any] | None = None, *, profile: str = "") -> str:
    """The text of a released history file; `read_history` gives back the same messages, metadata and profile."""
    opening = [{"role": "system", "content": profile}] if profile else []
    chat = [*opening, *({"role": message.role, "content": message.content} for message in messages)]
    return json.dumps({"metadata": dict(metadata or {}), "chat_history": chat}, ensure_ascii=False, indent=2)


def _json(path: Path) -> Any:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}",
            where=path,
            expected="a chat history as a JSON file",
            remedy="correct the path",
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}",
            where=path,
            expected="JSON in UTF-8",
            remedy="save the file as UTF-8",
        ) from error
    if not text.strip():
        raise UserError("the file is empty", where=path, expected=FORMAT, remedy="download or export it again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"not JSON: {error.msg}",
            where=f"{path}:{error.lineno}:{error.colno}",
            expected=FORMAT,
            remedy="correct the file at this line and column; if it ends there, it was cut off: download it again",
        ) from error


def _items(value: Any, path: Path) -> Sequence[Any]:
    items = value.get("chat_history") if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise UserError(
            "`chat_history` is not a list" if isinstance(value, dict) and items is not None else "no `chat_history`",
            where=path,
            expected=f"{FORMAT}, or the list of messages alone",
            remedy="give a chat history of PersonaMem-v2 (data/chat_history_32k/*.json), or bring yours into this form",
        )
    return items


def _message(item: Any, index: int, path: Path) -> Message:
    where = f"{path}: message {index}"
    if not isinstance(item, dict):
        raise UserError("not an object", where=where, expected="`role` and `content`", remedy="correct this message")
    role = item.get("role")
    if role not in ROLES:
        raise UserError(
            f"unknown role {role!r}" if "role" in item else "no `role`",
            where=where,
            expected="one of " + ", ".join(ROLES),
            remedy="rename the role, or delete the message (tool calls are not read)",
        )
    return Message(turn_id=f"m{index:04d}", role=cast(Role, role), content=_content(item.get("content"), where))


def _content(content: Any, where: str) -> str:
    """The text of a message; the multimodal files' list of parts is read when all parts are text."""
    if isinstance(content, str):
        return _text(content, where)
    if not isinstance(content, list):
        raise UserError(
            "`content` is not a text", where=where, expected='e.g. "content": "Hello"', remedy="correct this message"
        )
    return "\n".join(_part(part, f"{where}, part {number}") for number, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return _text(str(part["text"]), where)
    raise UserError(
        "an image" if kind in ("image_url", "image") else f"a content part of the type {kind!r}",
        where=where,
        expected="text: images are not supported",
        remedy="use the person's text-only history, or replace the part by a description in words",
    )


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"half a character: {text[error.start]!r} alone is no Unicode text",
            where=where,
            expected="text that can be written as UTF-8",
            remedy="replace this escape in the file",
        ) from error
    return text
