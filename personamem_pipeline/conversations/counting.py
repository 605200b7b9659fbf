"""Counting tokens of message contents, many at a time.

A history's budget is counted with the model's own tokenizer, and beside it always with gpt-4o's, by which PersonaMem-v2
gives its lengths. Only contents are counted: no special tokens, no chat template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import islice
from typing import NamedTuple

from personamem_pipeline.errors import UserError
from personamem_pipeline.settings import PROJECT

Count = Callable[[Sequence[str]], list[int]]
"""Texts -> the number of tokens of each."""


class Size(NamedTuple):
    """Length of some contents: in the budget's tokens and in gpt-4o's."""

    tokens: int
    gpt4o: int


Measure = Callable[[Sequence[str]], list[Size]]
"""Texts -> the size of each."""

BATCH = 2048
"""Texts encoded at once: enough to keep all cores busy, few enough to keep the encodings' memory small."""

_WORD = re.compile(r"\w+|[^\w\s]")


COUNTERS = ("words", "gpt-4o")
"""Tokenizers that need no file."""


def count_words(texts: Sequence[str]) -> list[int]:
    """Words and punctuation marks: the counts of a whole-word tokenizer."""
    return [len(_WORD.findall(text)) for text in texts]


def count_gpt4o(texts: Sequence[str]) -> list[int]:
    """Tokens of o200k_base, gpt-4o's encoding; the vocabulary comes with the package, nothing is downloaded."""
    # The package's own batch call starts a thread pool and is several times slower than this loop.
    encode = _o200k_base()
    return [len(encode(text)) for text in texts]


@cache
def _o200k_base() -> Callable[[str], list[int]]:
    import bpe_openai

    encode: Callable[[str], list[int]] = bpe_openai.get_encoding("o200k_base").encode_ordinary
    return encode


def load_counter(tokenizer: str) -> Count:
    """The counter that `data.histories.tokenizer` names: `words`, `gpt-4o`, or a directory with a tokenizer.json.

    A relative directory is relative to the project. UserError when there is no such tokenizer.
    """
    if tokenizer == "words":
        return count_words
    if tokenizer == "gpt-4o":
        return count_gpt4o
    from tokenizers import Tokenizer

    path = PROJECT / tokenizer / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            "there is no tokenizer",
            where=path,
            expected="`words`, `gpt-4o`, or a directory that holds tokenizer.json",
            remedy="correct data.histories.tokenizer in the preset",
        )
    loaded = Tokenizer.from_file(str(path))
    # A tokenizer.json can carry both, and either would make counts depend on a text's neighbours or a model's window.
    loaded.no_padding()
    loaded.no_truncation()

    def count(texts: Sequence[str]) -> list[int]:
        waiting, lengths = iter(texts), []
        while batch := list(islice(waiting, BATCH)):
            lengths += [len(encoding) for encoding in loaded.encode_batch_fast(batch, add_special_tokens=False)]
        return lengths

    return count


def load_measure(tokenizer: str) -> Measure:
    """Both counts at once, by `tokenizer` (see `load_counter`) and by gpt-4o's; only one of them where they are the same."""
    count = load_counter(tokenizer)
    if count is count_gpt4o:
        return lambda texts: [Size(tokens, tokens) for tokens in count(texts)]
    return lambda texts: list(map(Size, count(texts), count_gpt4o(texts)))


def total(sizes: Iterable[Size]) -> Size:
    """The size of all of them together."""
    tokens, gpt4o = 0, 0
    for size in sizes:
        tokens, gpt4o = tokens + size.tokens, gpt4o + size.gpt4o
    return Size(tokens, gpt4o)
