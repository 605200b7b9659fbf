"""A model behind an OpenAI-compatible endpoint as a generator: how frontier models are put under test.

Every prompt is one plain chat request through the same `Endpoint` as everything else: its cache, window, retries, budgets
and usage. What the server counts is what is reported, hidden thoughts included; a model that thinks before it answers
spends `max_tokens` on that, too, and may come back unfinished with nothing said.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.llm.client import Chat, Endpoint, Said
from personamem_pipeline.llm.progress import Meter
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.progress import Interrupted
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import load_settings

NOT_THE_MODELS = ("unanswered", "endless")
"""Codes of refusals that say something of the server, and nothing of the model."""
TOLD_EVERY = 15.0
"""Seconds between two lines on how far a call is."""
log = logging.getLogger(__name__)


@dataclass
class EndpointGenerator:
    """Answers through an endpoint.

    Draws do not depend on where in a call a prompt stands: a request's seed comes from the call's, the prompt and which of
    several equal ones it is. Greedy replies depend on the prompt alone, and equal ones are asked for once. So the cache
    answers for other batches, systems and option orders as far as their prompts are the same.
    """

    endpoint: Endpoint
    context: int | None = None
    """Most tokens of prompt and reply together, by this class's count; None: the server refuses what it cannot take."""
    stop: Callable[[], bool] | None = None
    """Asked after each reply; once true, the call ends with `Interrupted`. What was answered is in the cache."""
    template_tokens: int = field(default=16, init=False)
    """More than the templates of known servers take; theirs are not known here."""
    _warned: bool = field(default=False, init=False, repr=False)

    @classmethod
    def configured(cls, context: int | None = None, stop: Callable[[], bool] | None = None) -> EndpointGenerator:
        """The model that the settings name, with the key from the environment; offline the simulator."""
        settings = load_settings()
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        return cls(Endpoint(settings.llm_base_url, settings.llm_model, key, **settings.llm_options), context, stop)

    def count(self, text: str) -> int:
        """Length in gpt-4o's tokens: the model's own are not known here, and one measure serves all endpoints."""
        return len(o200k_base()(text))

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        """One reply per prompt, order kept; a prompt that the server refuses gets an empty, refused one.

        Raises:
            UserError: the endpoint is at fault, a budget is used up, or no request at all is taken.
            Interrupted: `stop` said so.
        """
        chats = _chats(prompts, max_tokens, temperature, seed)
        asked = {chat.key: chat for chat in chats}
        given = dict(zip(asked, self.endpoint.map(list(asked.values()), self._watch()), strict=True))
        self._tell_refusals([reply for reply in given.values() if isinstance(reply, Refused)], len(given))
        counted = {key: self._counted(asked[key], reply) for key, reply in given.items()}
        return [_generation(given[chat.key], counted[chat.key]) for chat in chats]

    def _watch(self) -> Callable[[int, int], None]:
        meter, told = Meter(self.endpoint.usage, time.monotonic), time.monotonic()

        def watch(done: int, total: int) -> None:
            nonlocal told
            if self.stop and self.stop():
                raise Interrupted(f"{done:,} of {total:,} replies of {self.endpoint.model} have come")
            if time.monotonic() - told >= TOLD_EVERY:
                told = time.monotonic()
                log.info("%s: %s", self.endpoint.model, meter.line(done, total))

        return watch

    def _tell_refusals(self, refusals: Sequence[Refused], asked: int) -> None:
        if not refusals:
            return
        first = _reason(refusals[0])
        if away := next((text for text in map(_reason, refusals) if text.startswith(NOT_THE_MODELS)), None):
            # Kept as a wrong answer it would stay one when the server is well again.
            raise UserError(
                f"{self.endpoint.model} did not answer {len(refusals):,} of {asked:,} requests: {away}",
                where=self.endpoint.base_url or "the simulator",
                expected="an endpoint that answers",
                remedy="run again when it does: what was answered is kept",
            )
        bad = all(_reason(refused).startswith("bad_request") for refused in refusals)
        if bad and len(refusals) == asked and not self.endpoint.usage.answered().answers:
            # Every answer would be wrong for a reason that is none of the model's.
            raise UserError(
                f"{self.endpoint.model} takes none of {asked:,} requests: {first}",
                where=self.endpoint.base_url or "the simulator",
                expected="a chat endpoint that takes plain requests of this length",
                remedy="check PERSONAMEM_LLM_MODEL, and whether prompts and replies fit into the model's context",
            )
        log.warning("%s refused %d of %d requests, the first so: %s", self.endpoint.model, len(refusals), asked, first)

    def _counted(self, chat: Chat, reply: Said | Refused) -> tuple[int, int]:
        """Tokens of prompt and reply; nothing was counted where nothing came back."""
        if isinstance(reply, Refused):
            return 0, 0
        if reply.input_tokens is None or reply.output_tokens is None:
            if not self._warned:
                log.warning(
                    "%s sends no token counts: gpt-4o's tokenizer counts, hidden thoughts not", self.endpoint.model
                )
            self._warned = True
            return self.count(chat.text), self.count(reply.text)
        return reply.input_tokens, reply.output_tokens


def _reason(refused: Refused) -> str:
    return str(refused.args[-1])


def _chats(prompts: Sequence[str], max_tokens: int, temperature: float, seed: int) -> list[Chat]:
    greedy, seen, chats = temperature == 0, Counter[str](), list[Chat]()
    for prompt in prompts:
        text = digest(prompt.encode())
        draw = 0 if greedy else seen[text]
        seen[text] += 1
        chats.append(Chat(prompt, f"{text[:24]}.{draw}", max_tokens, temperature, 0 if greedy else seed))
    return chats


def _generation(reply: Said | Refused, counted: tuple[int, int]) -> Generation:
    if isinstance(reply, Refused) or reply.refused:
        return Generation((), (), "", finished=False, counted=counted, refused=True)
    return Generation((), (), reply.text, finished=reply.finished, counted=counted)


@cache
def o200k_base() -> Callable[[str], list[int]]:
    """Text to the tokens of gpt-4o."""
    # As `conversations/counting.py`, which this room may not import, counts: no special tokens, nothing downloaded.
    import bpe_openai

    return cast(Callable[[str], list[int]], bpe_openai.get_encoding("o200k_base").encode_ordinary)
