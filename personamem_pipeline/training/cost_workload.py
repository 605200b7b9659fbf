"""Counting the tokens of one optimizer step from the lengths of its parts; no model, no torch.

`measure` knows how prompts are put together: what a turn reads, what it writes, and which of its prompt's first tokens a
prefix cache has seen before. A test holds it against a real run, token by token. `workload` is the same for a preset,
with lengths that are assumed instead of measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from personamem_pipeline.memory.prompts import EMPTY, answer_prompt, chat_prompt, write_prompt
from personamem_pipeline.presets import MemoryConfig
from personamem_pipeline.records import Message

BLOCK = 16
"""Tokens per block of vLLM's prefix cache; only whole blocks are found again."""
WRAP = (3, 5)
"""Tokens of Qwen3's chat template before and after a user message: `<|im_start|>user\\n`, and `<|im_end|>\\n` with the
assistant's opening."""
_FIRST, _SECOND, _OPTION = "first-slot", "second-slot", "option-slot"


@dataclass(frozen=True)
class Template:
    """Tokens of a prompt's fixed text: before, between and after the two things that are filled in."""

    head: int
    middle: int
    tail: int

    @property
    def total(self) -> int:
        return self.head + self.middle + self.tail


@dataclass(frozen=True)
class Templates:
    """The three prompts of a protocol: writing, a multiple-choice question, an open one."""

    write: Template
    choice: Template
    open: Template
    empty: int
    """Tokens of what stands for a memory with nothing in it."""

    @classmethod
    def of(cls, config: MemoryConfig, count: Callable[[str], int], wrap: tuple[int, int] = WRAP) -> Templates:
        """Count the fixed text of `config`'s prompts; `wrap` is the chat template's before and after."""
        chat = [Message(turn_id="m0", role="user", content=_FIRST)]
        options = {"a": _OPTION}
        lettered = f"{_SECOND}\n({'a'}) {_OPTION}" if config.prompts == "full" else f"{_SECOND}\n{_OPTION} (a)"

        def cut(prompt: str, *slots: str) -> Template:
            first, second = sorted(slots, key=prompt.index)
            head, _, rest = prompt.partition(first)
            middle, _, tail = rest.partition(second)
            # A space before what is filled in becomes part of its first token.
            return Template(wrap[0] + count(head.rstrip(" ")), count(middle.rstrip(" ")), count(tail) + wrap[1])

        rendered = f"user: {_FIRST}"
        if config.protocol == "full_context":
            choice = cut(chat_prompt(config, chat, _SECOND, options), rendered, lettered)
            free = cut(chat_prompt(config, chat, _SECOND, None), rendered, _SECOND)
        else:
            choice = cut(answer_prompt(config, _FIRST, _SECOND, options), _FIRST, lettered)
            free = cut(answer_prompt(config, _FIRST, _SECOND, None), _FIRST, _SECOND)
        return cls(cut(write_prompt(config, chat, _SECOND), rendered, _SECOND), choice, free, count(EMPTY))


@dataclass(frozen=True)
class Asked:
    """A question as it stands in a prompt: tokens of the query, with the space before it, and of its lettered options."""

    tokens: float
    open: bool
    answered: float
    """Tokens sampled for it, end token included."""


@dataclass(frozen=True)
class Episode:
    """The lengths of one rollout, in tokens. Under `full_context` only `chat` and `asked` are read."""

    chunks: tuple[float, ...]
    """Rendered text of each chunk."""
    written: tuple[float, ...]
    """Sampled in each write turn, end token included."""
    kept: tuple[float, ...]
    """The memory after each write turn, as the next prompt shows it."""
    asked: tuple[Asked, ...]
    chat: float = 0.0
    """Rendered text of the whole chat."""


@dataclass(frozen=True)
class Turn:
    """One row, or `count` equal ones: what it reads and samples, in tokens."""

    kind: Literal["write", "answer"]
    call: int
    """Number of the generator call it is part of: write turns in order, answers last."""
    prompt: float
    completion: float
    cached: float
    """Of the prompt's first tokens those that a row before it in its group brought into a prefix cache."""
    count: float = 1.0

    @property
    def size(self) -> float:
        return self.prompt + self.completion


@dataclass(frozen=True)
class Workload:
    """All rows of one optimizer step, over all processes."""

    turns: tuple[Turn, ...]

    def sum(self, of: Callable[[Turn], float]) -> float:
        return sum(turn.count * of(turn) for turn in self.turns)

    @property
    def rows(self) -> float:
        return self.sum(lambda turn: 1.0)

    @property
    def answers(self) -> float:
        return sum(turn.count for turn in self.turns if turn.kind == "answer")

    @property
    def tokens(self) -> float:
        """What a forward pass over every row reads: prompts and replies."""
        return self.sum(lambda turn: turn.size)

    @property
    def prompt_tokens(self) -> float:
        """What the sampling engine reads where it has no prefix cache."""
        return self.sum(lambda turn: turn.prompt)

    @property
    def sampled_tokens(self) -> float:
        return self.sum(lambda turn: turn.completion)

    @property
    def uncached_tokens(self) -> float:
        """What the sampling engine reads with a prefix cache."""
        return self.sum(lambda turn: turn.prompt - turn.cached)

    @property
    def longest(self) -> float:
        """Prompt and reply of the longest row."""
        return max(turn.size for turn in self.turns)

    def times(self, factor: float) -> Workload:
        return Workload(tuple(replace(turn, count=turn.count * factor) for turn in self.turns if turn.count * factor))

    def __add__(self, other: Workload) -> Workload:
        return Workload(self.turns + other.turns)


def measure(
    groups: Sequence[Sequence[Episode]], templates: Templates, config: MemoryConfig, *, block: int = BLOCK
) -> Workload:
    """The rows of groups of rollouts; a group reads the same history and is asked the same questions.

    `block` is the prefix cache's granularity in tokens. What different groups share (some words of the template) and what
    rollouts share by chance is not counted as cached.
    """
    full = config.protocol == "full_context"
    turns: list[Turn] = []
    for group in groups:
        for number, episode in enumerate(group):
            writes = () if full else _writes(episode, number, templates, config, block)
            turns += [*writes, *_answers(episode, number, templates, full, block)]
    return Workload(tuple(turns))


def _writes(episode: Episode, number: int, templates: Templates, config: MemoryConfig, block: int) -> list[Turn]:
    before = (templates.empty, *episode.kept)
    form, turns = templates.write, []
    for call, (chunk, written) in enumerate(zip(episode.chunks, episode.written, strict=True)):
        prompt = form.total + chunk + before[call]
        shared = form.head + chunk + form.middle if config.order == "chunk_first" else form.head
        known = (
            0.0 if number == 0 else prompt if call == 0 else shared
        )  # at first all memories are empty, prompts equal
        turns.append(Turn("write", call, prompt, written, _whole_blocks(known, prompt, block)))
    return turns


def _answers(episode: Episode, number: int, templates: Templates, full: bool, block: int) -> list[Turn]:
    source = episode.chat if full else (templates.empty, *episode.kept)[-1]
    turns = []
    for index, question in enumerate(episode.asked):
        form = templates.open if question.open else templates.choice
        prompt = form.total + source + question.tokens
        known = 0.0
        if full and number:
            known = prompt
        elif index:
            known = form.head + source + form.middle
        elif number:
            known = form.head
        turns.append(
            Turn("answer", len(episode.chunks), prompt, question.answered, _whole_blocks(known, prompt, block))
        )
    return turns


def _whole_blocks(known: float, prompt: float, block: int) -> float:
    """The last token of a prompt is always computed: its output is what sampling starts from."""
    return min(known, prompt - 1) // block * block
