"""Histories: a person's sessions in time order, within a token budget.

Only filler gives way to the budget. A session with evidence is never dropped or cut: a question whose evidence is gone
would measure nothing (PersonaMem-v2 protects such blocks in the same way).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import HistoriesConfig
from personamem_pipeline.records import History, Persona, Session
from personamem_pipeline.seeds import stable_int

_WORD = re.compile(r"\w+|[^\w\s]")


def count_words(text: str) -> int:
    """Words and punctuation marks: the count of a whole-word tokenizer."""
    return len(_WORD.findall(text))


def load_counter(tokenizer: str) -> Callable[[str], int]:
    """The counter that `data.histories.tokenizer` names: `words`, or a directory with a tokenizer.json."""
    if tokenizer == "words":
        return count_words
    from tokenizers import Tokenizer

    path = Path(tokenizer) / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            "there is no tokenizer",
            where=path,
            expected="`words`, or a directory that holds tokenizer.json",
            remedy="correct data.histories.tokenizer in the preset",
        )
    loaded = Tokenizer.from_file(str(path))
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def assemble(
    persona: Persona, sessions: Sequence[Session], config: HistoriesConfig, count: Callable[[str], int]
) -> History:
    """One person's history. All sessions with evidence, and as many others as fit into `config.tokens`.

    Which of the others stay follows a stable hash of their ids, so neither the start nor the end of a history is
    favoured. `tokens` can be over the budget when the evidence alone is.
    """
    own = sorted((s for s in sessions if s.person_id == persona.person_id), key=lambda s: (s.time, s.session_id))
    length = {session.session_id: sum(count(message.content) for message in session.messages) for session in own}
    kept = {session.session_id for session in own if session.evidence}
    tokens = sum(length[session_id] for session_id in kept)
    filler = [session.session_id for session in own if not session.evidence]
    for session_id in sorted(filler, key=lambda session_id: stable_int("filler", session_id)):
        if tokens + length[session_id] <= config.tokens:
            kept.add(session_id)
            tokens += length[session_id]
    return History(
        person_id=persona.person_id,
        split=persona.split,
        sessions=tuple(session for session in own if session.session_id in kept),
        tokens=tokens,
        tokenizer=config.tokenizer,
    )
