"""The lengths that a preset's cost is estimated with, and the workload that follows from them.

What a dataset is like and how long a policy writes is not known before a run, so these are assumptions, each with its
source; `personamem cost` prints them below its table. Estimates take the expected ones, or the caps (`--worst`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from personamem_pipeline.presets import Preset
from personamem_pipeline.training.cost_workload import Asked, Episode, Templates, Workload, measure

MESSAGE = 137
"""Tokens of a message: 233 messages in the mean of a released 32k history (paper-spec.md 1.1)."""
ROLE = 3
"""Tokens that `role: ` and the line break add to a message."""
MEMORY_SHARE, ANSWER_SHARE = 900 / 2048, 500 / 1024
"""Of their caps: 900 of 2,048 and 500 of 1,024 (memory-rl.md 3.2, row B)."""
CHOICE, OPEN = 250, 40
"""Tokens of a query with four options of 1-3 sentences, and of a query alone (paper-spec.md 1.6). Ours, not measured."""
LONGEST = 1.6
"""The longest reply of a call against their mean: memory-rl.md 3.2 has 170 s for 107 s in row B. With caps, 1."""
RELEASED = {"32k": 32_000, "128k": 123_000}
"""gpt-4o tokens of a released history (paper-spec.md 1.1: medians 31,855 and 122,747)."""


@dataclass(frozen=True)
class Lengths:
    """Of one rollout, in the model's own tokens."""

    chunks: int
    chunk: float
    memory: float
    """Sampled per write turn; the memory that stands in the next prompt is one token (the end) shorter."""
    answer: float
    choice: float = CHOICE
    open: float = OPEN
    longest: float = LONGEST

    @property
    def chat(self) -> float:
        return self.chunks * self.chunk


def expected_lengths(preset: Preset) -> Lengths:
    """Histories of the preset's budget in chunks of whole messages, replies of the usual share of their caps.

    The budget's tokenizer is taken to count like the model's: by how much gpt-4o's and Qwen's differ on these chats is not
    known to us. A chunk of whole messages ends half a message before its budget.
    """
    memory, data = preset.memory, preset.data
    contents = RELEASED[data.released.size] if data.released else data.histories.pad_to or data.histories.tokens
    chat = contents * (1 + ROLE / MESSAGE)
    filled = max(memory.chunk_tokens / 2, memory.chunk_tokens - MESSAGE / 2)
    chunks = min(memory.max_chunks, math.ceil(chat / filled))
    return Lengths(chunks, chat / chunks, memory.memory_tokens * MEMORY_SHARE, memory.answer_tokens * ANSWER_SHARE)


def worst_lengths(preset: Preset) -> Lengths:
    """As many and as full chunks as the protocol allows, and every reply at its cap."""
    memory = preset.memory
    return Lengths(memory.max_chunks, memory.chunk_tokens, memory.memory_tokens, memory.answer_tokens, longest=1.0)


def workload(preset: Preset, lengths: Lengths, templates: Templates) -> Workload:
    """One optimizer step of GRPO: `prompts_per_step * rollouts` answers, and the memories that they rest on."""
    grpo = preset.grpo
    persons = grpo.prompts_per_step / grpo.questions_per_memory

    def of(is_open: bool) -> Workload:
        episode = _episode(lengths, is_open, grpo.questions_per_memory)
        return measure([[episode] * grpo.rollouts], templates, preset.memory)

    return of(False).times(persons * (1 - grpo.open_share)) + of(True).times(persons * grpo.open_share)


def sft_workload(preset: Preset, lengths: Lengths, templates: Templates) -> Workload:
    """One optimizer step of supervised fine-tuning: single turns, as long as GRPO's."""
    sft = preset.sft

    def of(is_open: bool) -> Workload:
        whole = measure([[_episode(lengths, is_open, 1)]], templates, preset.memory)
        writes = Workload(tuple(turn for turn in whole.turns if turn.kind == "write"))
        answers = Workload(tuple(turn for turn in whole.turns if turn.kind == "answer"))
        share = sft.write_share if writes.turns else 0.0
        rows = sft.batch_size * (sft.open_share if is_open else 1 - sft.open_share)
        return writes.times(rows * share / max(1.0, writes.rows)) + answers.times(rows * (1 - share))

    return of(False) + of(True)


def _episode(lengths: Lengths, is_open: bool, questions: int) -> Episode:
    asked = Asked(lengths.open if is_open else lengths.choice, is_open, lengths.answer)
    turns = (1.0,) * lengths.chunks
    return Episode(
        chunks=tuple(lengths.chunk for _ in turns),
        written=tuple(lengths.memory for _ in turns),
        kept=tuple(lengths.memory - 1 for _ in turns),
        asked=(asked,) * questions,
        chat=lengths.chat,
    )
