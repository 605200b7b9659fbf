r"""The tiny model's tokenizer: whole words of one closed language, single characters and bytes for everything else.

A unigram model with byte fallback (as Llama's) over a fixed piece list: nothing is learned, so the same texts always give
the same tokenizer, any UTF-8 text round-trips, and a known word is one token. Words that never occur in the texts fall
apart into characters: the tiny model cannot know them, and reports show such questions apart.

A word with its colon (`user:`, `- drinks:`) is one token too, as are `(b)` and `\boxed{b}`: what has to be looked up then
directly follows its key, which two layers of attention can learn to do in minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>")
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\n' -}}"
    "{%- if message.role == 'assistant' -%}"
    "{%- generation -%}{{- message.content + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message.content + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
_WORD = re.compile(r" ?\\boxed\{[a-d]\}| ?\([a-d]\)| ?[A-Za-z]+:?")
_SPACE = "▁"


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose pieces are all words of `texts`, with and without a leading space as they occur."""
    found = {word.replace(" ", _SPACE) for text in texts for word in _WORD.findall(text)}
    words = sorted(found | {word.rstrip(":") for word in found})
    characters = [chr(code) for code in range(33, 127)] + ["\n", _SPACE]
    spaced = [_SPACE + mark for mark in "-(\\:?"]
    answers = [
        space + piece
        for letter in "abcd"
        for piece in (f"({letter})", f"\\boxed{{{letter}}}")
        for space in ("", _SPACE)
    ]
    pieces: dict[str, float] = {piece: -1e6 for piece in SPECIAL}
    pieces.update((f"<0x{byte:02X}>", -20.0) for byte in range(256))
    pieces.update((character, -10.0) for character in characters)
    # One piece per word costs less than any way of spelling it, so a known word is always one token.
    pieces.update((word, -1.0) for word in (*words, *spaced, *answers, "user", "assistant", "system") if len(word) > 1)
    backend = Tokenizer(Unigram(list(pieces.items()), unk_id=SPECIAL.index("<unk>"), byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n"), behavior="isolated"),
            pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="never", split=True),
        ]
    )
    backend.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=1024,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
