r"""Which option a reply picks: strictly, by what it was asked to write, and leniently, by what others would also accept.

The headline counts only the strict reading (`memory.prompts.parse_choice`: the last `\boxed{x}`, or one option's words as
the last line). A lenient parser lifts weak models, and lifts them by as much as it guesses: the answer-letter expressions
of the released PersonaMem-v2 evaluation take the first match of several loose patterns, down to a lone letter at the end
of a line (anchors.md D, paper-spec.md 4.1). So the lenient reading is reported beside the strict one, where the difference
shows what format alone is worth, and where letters compete it picks none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from personamem_pipeline.memory.prompts import distinct_parts, parse_choice, without_thinking

_MARKUP = re.compile(r"[*_`$]")
_MENTION = r"\b(?:option|choice|reply|letter)\s+"
_STATED = (
    r"(?:\\boxed\s*\{\s*(?:\\text\s*\{)?|(?<!not )(?<!n't )(?<!never )"
    r"\b(?:answer|choice|choose|pick|select|go(?:ing)?\s+with)\b(?:\s*(?:\bis\b|\bbe\b|\bwould\b|\boption\b|[:=\"']))*)\s*"
)
_WHOLE = r"(?!\w|['\u2019-]\w)"
"""Not the beginning of a word."""
_ARTICLE = r"(?!(?-i:a)\s+\w)"
"""A small `a` before a word is an article: `the answer is a matter of taste`."""
SHORTEST_QUOTE = 2
"""Words of an option's own part that must be quoted; a single word is said too easily."""


def strict(output: str, options: Mapping[str, str]) -> str | None:
    """The letter that a reply picks in the way it was asked to, or None."""
    return parse_choice(output, options)


def lenient(output: str, options: Mapping[str, str]) -> str | None:
    r"""The letter that a reply picks by any usual way of saying so, or None. Whatever is read strictly is read the same.

    Otherwise the first of these rules that finds a letter decides; where it finds two different ones, nothing does:

    1. stated: `Final Answer: B`, `the answer is (b)`, `I choose option b`, `{"answer": "b"}`, `\boxed{b) green tea}`;
    2. mentioned: `(b)`, `[b]`, `option b`, or a line that begins with `b)`, `b.` or `b:`;
    3. quoted: the text of an option, or the part of it (at least two words) that tells it from the others; an option
       whose text is part of a longer quoted one is not thereby quoted;
    4. alone: a line that is a letter, or ends with a capital one.

    Thoughts do not count, nor do markup and case.
    """
    letter = strict(output, options)
    if letter is not None:
        return letter
    reply = _MARKUP.sub("", without_thinking(output))
    stated, mentioned, alone = _patterns("".join(options))
    found = _letters(stated, reply) or _letters(mentioned, reply) or _quoted(reply, options) or _letters(alone, reply)
    return found.pop() if len(found) == 1 else None


@lru_cache
def _patterns(letters: str) -> tuple[re.Pattern[str], ...]:
    one = f"([{letters}])"
    bracketed = rf"\({one}\)|\[{one}\]"
    texts = (
        rf"{_STATED}(?:{bracketed}|{_ARTICLE}{one}{_WHOLE})",
        rf"{bracketed}|{_MENTION}{one}{_WHOLE}|^\s*{one}[).:](?=\s|$)",
        rf"^\s*{one}[.!)]*\s*$|(?-i:(?:^|[\s:])([{letters.upper()}])[.!)]*\s*$)",
    )
    return tuple(re.compile(text, re.IGNORECASE | re.MULTILINE) for text in texts)


def _letters(pattern: re.Pattern[str], reply: str) -> set[str]:
    return {group.lower() for match in pattern.finditer(reply) for group in match.groups() if group}


def _quoted(reply: str, options: Mapping[str, str]) -> set[str]:
    rest = _words(reply)
    parts = distinct_parts(options)
    quotes = [
        (quote, letter)
        for letter, text in options.items()
        for quote in {_words(text), _words(parts[letter])}
        if len(quote.split()) >= SHORTEST_QUOTE
    ]
    found = set()
    # The longest first, each taken out of the reply, so that an option inside another one is not found in it.
    for quote, letter in sorted(quotes, key=lambda row: (-len(row[0]), row)):
        if quote not in rest:
            continue  # the expression below costs a hundred times as much
        pieces = re.split(rf"(?<!\w){re.escape(quote)}(?!\w)", rest)
        if len(pieces) > 1:
            found.add(letter)
            rest = "\n".join(pieces)
    return found


def _words(text: str) -> str:
    return " ".join(_MARKUP.sub("", text).casefold().split()).strip(" .!?\"'")
