"""Tokens per second of counting and of assembling histories, beside a straightforward loop, in one run.

    python -m benchmarks.histories                      # 40 persons at 32k and, padded, at 128k
    python -m benchmarks.histories --tokenizer DIR ...  # also with these Hugging Face tokenizers

The loop is what one writes first, and what the released generator does: encode every message of every history with the
same tokenizers and add up. Both must come to the same numbers, else this ends with an error. gpt-4o's column is the same
library (bpe-openai, o200k_base) in both, called by `encode` in the loop as tiktoken users do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from personamem_pipeline.conversations.counting import load_counter
from personamem_pipeline.conversations.histories import assemble_all
from personamem_pipeline.conversations.padding import BUILTIN_ROUND, MISSES
from personamem_pipeline.conversations.sessions import write_sessions
from personamem_pipeline.conversations.worked import worked_example
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.personas.write import write_personas
from personamem_pipeline.presets import ConversationsConfig, HistoriesConfig, PersonasConfig, SeedsConfig
from personamem_pipeline.records import Persona, Session
from personamem_pipeline.seeds import stable_int
from personamem_pipeline.settings import PROJECT

ResultT = TypeVar("ResultT")
Encode = Callable[[str], Sequence[int]]
CONVERSATIONS = ConversationsConfig(small_talk=40, length="long", knowledge_repeats=6, extended_share=0.33)


def encoder(tokenizer: str) -> Encode:
    """The tokenizer as a function of one text."""
    if tokenizer == "gpt-4o":
        import bpe_openai

        encode: Encode = bpe_openai.get_encoding("o200k_base").encode
        return encode
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(PROJECT / tokenizer / "tokenizer.json"))
    return lambda text: loaded.encode(text, add_special_tokens=False).ids


def plain_lengths(
    personas: Sequence[Persona], sessions: Sequence[Session], config: HistoriesConfig, encode: Encode, gpt4o: Encode
) -> list[tuple[int, int]]:
    """(tokens, gpt-4o tokens) of each history, by a loop over persons that encodes what it meets."""
    lengths = []
    for persona in personas:
        own = sorted((s for s in sessions if s.person_id == persona.person_id), key=lambda s: s.time)
        sizes = {s.session_id: sum(len(encode(message.content)) for message in s.messages) for s in own}
        kept = [s for s in own if s.evidence]
        total = sum(sizes[s.session_id] for s in kept)
        for session in sorted((s for s in own if not s.evidence), key=lambda s: stable_int("filler", s.session_id)):
            if total + sizes[session.session_id] <= config.tokens:
                kept.append(session)
                total += sizes[session.session_id]
        contents = [message.content for session in kept for message in session.messages]
        added, padding = plain_padding(persona, (config.pad_to or 0) - total, encode)
        total, contents = total + added, contents + padding
        lengths.append((total, total if encode is gpt4o else sum(len(gpt4o(text)) for text in contents)))
    return lengths


def plain_padding(persona: Persona, room: int, encode: Encode) -> tuple[int, list[str]]:
    """(tokens, contents) of the same dialogues as `Padding.fill`'s, each made and encoded for this person alone."""
    start, misses, total = stable_int("padding", persona.person_id) % BUILTIN_ROUND, 0, 0
    contents: list[str] = []
    place = 0
    while room > 0 and misses < MISSES:
        again, offset = divmod(place, BUILTIN_ROUND)
        dialogue = worked_example((start + offset) % BUILTIN_ROUND + again * BUILTIN_ROUND, persona.split)
        tokens = sum(len(encode(text)) for text in dialogue)
        misses = 0 if total + tokens <= room else misses + 1
        if not misses:
            contents += dialogue
            total += tokens
        place += 1
    return total, contents


def timed(function: Callable[[], ResultT]) -> tuple[ResultT, float]:
    """The result, and the seconds that it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def population(persons: int) -> tuple[list[Persona], list[Session]]:
    """Persons with enough long sessions for 32k tokens each, written by the simulator."""
    endpoint = Endpoint(base_url=None, model="simulator/1", api_key=None)
    seeds = draw_seeds(
        SeedsConfig(training_persons=persons - persons // 4, benchmark_persons=persons // 4 or 1), 0
    ).rows
    personas, _ = write_personas(seeds, PersonasConfig(self_preferences=16), endpoint, 0)
    sessions, rejections = write_sessions(personas, CONVERSATIONS, endpoint, 0)
    assert not rejections, rejections[0]
    return personas, sessions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=40)
    parser.add_argument("--tokenizer", nargs="*", default=[], help="more directories with a tokenizer.json")
    options = parser.parse_args()
    personas, sessions = population(options.persons)
    contents = [message.content for session in sessions for message in session.messages]
    print(f"{len(personas)} persons, {len(sessions)} sessions, {len(contents)} messages")
    print(f"{'what':<14}{'tokenizer':<32}{'tokens':>12}{'loop tok/s':>13}{'ours tok/s':>13}{'ratio':>8}")
    gpt4o = encoder("gpt-4o")
    for tokenizer in ("gpt-4o", "models/tiny-base", *options.tokenizer):
        encode, counter = gpt4o if tokenizer == "gpt-4o" else encoder(tokenizer), load_counter(tokenizer)
        gpt4o("warm"), encode("warm"), counter(["warm"])
        plain, loop = timed(partial(lengths_of, contents, encode))
        counted, ours = timed(partial(counter, contents))
        check(plain == counted, f"counting with {tokenizer}")
        show("count", tokenizer, sum(plain), loop, ours)
        for what, pad_to in (("history 32k", None), ("history 128k", 128_000)):
            config = HistoriesConfig(tokens=32_000, tokenizer=tokenizer, pad_to=pad_to)
            expected, loop = timed(partial(plain_lengths, personas, sessions, config, encode, gpt4o))
            made, ours = timed(partial(assemble_all, personas, sessions, config))
            check(expected == [(h.tokens, h.gpt4o_tokens) for h in made], f"{what} with {tokenizer}")
            show(what, tokenizer, sum(total for total, _ in expected), loop, ours)


def lengths_of(contents: Sequence[str], encode: Encode) -> list[int]:
    """Tokens of each text, one after the other."""
    return [len(encode(text)) for text in contents]


def show(what: str, tokenizer: str, tokens: int, loop: float, ours: float) -> None:
    rates = f"{tokens / loop:>13,.0f}{tokens / ours:>13,.0f}{loop / ours:>8.2f}"
    print(f"{what:<14}{tokenizer[-30:]:<32}{tokens:>12,}{rates}", flush=True)


def check(equal: bool, what: str) -> None:
    """Figures for different results would compare nothing."""
    if not equal:
        raise SystemExit(f"{what}: the loop and ours differ")


if __name__ == "__main__":
    main()
