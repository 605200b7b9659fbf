"""Messages are found wherever they stand in a line, and everything else is passed on."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from dagster._core.pipes.context import PipesMessageHandler

from resources.pods.messages import MESSAGE, PodMessages


class Taken:
    """Receives what a handler would."""

    received_closed_message = False

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def handle_message(self, message: dict[str, Any]) -> None:
        self.messages.append(message)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("", "", []),
        ("\r 99%|####| 99/100", "", ["\r 99%|####| 99/100"]),
        ("", "WARNING: another thread", ["WARNING: another thread"]),
    ],
)
def test_a_message_is_found_in_its_line(
    before: str, after: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = {"__dagster_pipes_version": "0.1", "method": "log", "params": {"message": "{ünïcode}"}}
    assert json.dumps(message).startswith(MESSAGE)
    reader, taken = PodMessages(), Taken()
    with reader.read_messages(cast(PipesMessageHandler, taken)):
        reader.take(before + json.dumps(message) + after)
    assert taken.messages == [message]
    assert list(reader.words) == words
    assert capsys.readouterr().out == "".join(f"{line}\n" for line in words)


def test_half_a_message_is_words() -> None:
    reader, taken = PodMessages(), Taken()
    with reader.read_messages(cast(PipesMessageHandler, taken)):
        reader.take(MESSAGE + ': "0.1", "meth')
    assert not taken.messages
    assert len(reader.words) == 1
