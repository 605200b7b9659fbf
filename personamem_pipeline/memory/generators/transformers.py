"""`transformers.generate` as a generator: the default on CPU, and the reference for any faster engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.base import Generation
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.seeds import stable_int

TORCH_SEEDS = 2**31
COPY_AGAIN = "the directory was cut off or mixed up; copy it again or materialize the checkpoint again"


def load_model(directory: Path, *, training: bool = False) -> tuple[Any, Any]:
    """Model and tokenizer of a local Hugging Face directory; clear errors if broken.

    For reading: float32 on CPU, bfloat16 on a GPU. For training: float32 (autocast computes in bfloat16; Adam's small
    steps would round away in bfloat16 weights) and not moved, because the trainer shards and places it.
    """
    check_directory(directory)
    gpu = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        model, loading = AutoModelForCausalLM.from_pretrained(
            directory,
            local_files_only=True,
            dtype=torch.bfloat16 if gpu and not training else torch.float32,
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"the model cannot be loaded: {error}",
            where=directory,
            expected="whole safetensors files with the architecture that config.json names",
            remedy=COPY_AGAIN,
        ) from error
    # transformers would fill these with random numbers and go on.
    if absent := sorted({*loading["missing_keys"], *(key[0] for key in loading["mismatched_keys"])}):
        raise UserError(
            f"{len(absent)} weights are missing or of another size, the first is {absent[0]}",
            where=directory,
            expected="the weights of the architecture that config.json describes",
            remedy=COPY_AGAIN,
        )
    return (model if training else model.to("cuda" if gpu else "cpu").eval()), tokenizer


def check_directory(directory: Path) -> None:
    """Refuse, before any engine starts, what is no model directory or was copied only in part."""
    if not (directory / "config.json").is_file():
        raise UserError(
            "not a model directory: there is no config.json",
            where=directory,
            expected="a checkpoint of this project, or a local Hugging Face model directory",
            remedy="give the directory that holds config.json, tokenizer.json and model.safetensors",
        )
    if not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UserError(
            "the checkpoint has no tokenizer",
            where=directory,
            expected="tokenizer.json beside config.json",
            remedy="copy the tokenizer of the model that it was trained from, or materialize the checkpoint again",
        )
    for path in sorted(directory.glob("*.safetensors")):
        _check_whole(path)


def _check_whole(path: Path) -> None:
    """Compare a safetensors file's length with its header, without reading the weights."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise UserError(
            f"not a whole safetensors file: {error}",
            where=path,
            expected=f"as many bytes as its header announces; there are {path.stat().st_size}",
            remedy=COPY_AGAIN,
        ) from error


class TransformersGenerator:
    """Batched generation with a local model. Greedy at temperature 0; otherwise draws depend only on the seed."""

    def __init__(self, directory: Path, *, batch_size: int = 64) -> None:
        self.model, tokenizer = load_model(directory)
        self.renderer = Renderer(tokenizer, where=str(directory))
        self.batch_size = batch_size
        self.context: int | None = getattr(self.model.config, "max_position_embeddings", None)

    @property
    def template_tokens(self) -> int:
        return self.renderer.template_tokens

    def count(self, text: str) -> int:
        return self.renderer.count(text)

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Generation]:
        rows = [self.renderer.prompt_ids(prompt) for prompt in prompts]
        # Neighbours of equal length waste no padding; the replies go back to their own places.
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
        replies: dict[int, Generation] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            started = time.monotonic()
            with torch.random.fork_rng():
                torch.manual_seed(stable_int("generate", seed, start) % TORCH_SEEDS)
                ids = self._generate([rows[i] for i in batch], max_tokens, temperature)
            seconds = time.monotonic() - started
            replies.update(
                (i, to_generation(self.renderer, rows[i], out, seconds=seconds))
                for i, out in zip(batch, ids, strict=True)
            )
        return [replies[i] for i in range(len(rows))]

    def _generate(self, rows: list[list[int]], max_tokens: int, temperature: float) -> list[list[int]]:
        width = max(map(len, rows))
        pad = self.renderer.pad_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        config = GenerationConfig(
            max_new_tokens=max_tokens,
            use_cache=True,  # a trained model's config says no
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_k=0 if temperature > 0 else None,
            top_p=1.0 if temperature > 0 else None,
            eos_token_id=self.renderer.eos_id,
            pad_token_id=pad,
        )
        with torch.inference_mode():
            out = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        return [until_end(row, self.renderer.eos_id) for row in out[:, width:].tolist()]


def until_end(ids: list[int], eos_id: int) -> list[int]:
    """The ids up to and with the first end token; what follows is padding."""
    return ids[: ids.index(eos_id) + 1] if eos_id in ids else ids


def to_generation(
    renderer: Renderer,
    prompt: Sequence[int],
    ids: Sequence[int],
    logprobs: Sequence[float] | None = None,
    seconds: float | None = None,
) -> Generation:
    """A reply as a record; it is finished when it ends with the end token."""
    finished = bool(ids) and ids[-1] == renderer.eos_id
    chances = None if logprobs is None else tuple(logprobs)
    return Generation(tuple(prompt), tuple(ids), renderer.text(list(ids)), finished, chances, seconds=seconds)
