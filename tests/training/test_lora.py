"""Adapters: where they sit, what they start from, and that a stored checkpoint is the plain model with them merged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.memory.generators.transformers import load_model
from personamem_pipeline.presets import LoraConfig
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.store import Store
from personamem_pipeline.training.checkpoints import Papers, save_checkpoint
from personamem_pipeline.training.lora import merged_state, with_adapters
from personamem_pipeline.training.supervised import fit
from tests.training.fitting import config, job, renderer, rows, tiny
from tests.training.test_supervised import StopsAfter

RENDERER = renderer()
VOCABULARY = len(RENDERER.tokenizer)
LORA = LoraConfig(rank=4, alpha=8)


def adapted(lora: LoraConfig = LORA, seed: int = 0) -> PeftModel:
    return with_adapters(tiny(VOCABULARY), lora, seed)


def moved() -> PeftModel:
    """Adapters that do something: they start as zero."""
    model = adapted()
    draw = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3, generator=draw)
    return model


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(5, 25).reshape(2, 10) % VOCABULARY
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found


def test_every_linear_layer_but_the_head_is_adapted_and_only_adapters_learn() -> None:
    trained = {name for name, weight in adapted().named_parameters() if weight.requires_grad}
    assert all("lora_" in name for name in trained)
    layers = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in trained}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_adapters_start_by_their_seed_alone_and_change_nothing_at_first() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    base = tiny(VOCABULARY)
    torch.random.set_rng_state(before)
    one = with_adapters(base, LORA, 0)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(77)
    same, other = adapted(), adapted(seed=1)
    starts = [dict(model.named_parameters()) for model in (one, same, other)]
    name = next(name for name in starts[0] if "lora_A" in name)
    assert torch.equal(starts[0][name], starts[1][name]) and not torch.equal(starts[0][name], starts[2][name])
    assert torch.equal(logits(one), logits(tiny(VOCABULARY)))


def test_merging_equals_what_peft_merges() -> None:
    model = moved()
    merged = merged_state(model, model.state_dict())
    model.add_adapter("ref", model.peft_config["default"])  # TRL keeps the start like this
    assert merged_state(model, model.state_dict()).keys() == merged.keys()
    expected = moved().merge_and_unload().state_dict()
    assert merged.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(merged[name], weight)


def test_merging_rounds_once() -> None:
    model = moved()
    exact = merged_state(model, model.state_dict())
    half = {name: weight if "lora_" in name else weight.bfloat16() for name, weight in model.state_dict().items()}
    for name, weight in merged_state(model, half).items():
        assert weight.dtype == torch.bfloat16
        torch.testing.assert_close(weight.float(), exact[name], rtol=2**-7, atol=1e-3)


def test_a_stored_checkpoint_is_the_plain_model_with_its_adapters(tmp_path: Path) -> None:
    model = moved()
    trainer = fit(model, RENDERER.tokenizer, rows(12, VOCABULARY), config(), tmp_path / "scratch", Progress())
    work = job(tmp_path)
    version = save_checkpoint(work, trainer, RENDERER.tokenizer, work.preset.sft, Papers(extra={"turns": 12}))
    directory = Store(work.store).verified(CHECKPOINTS, version)
    loaded, _ = load_model(directory, training=True)
    assert not isinstance(loaded, PeftModel)
    torch.testing.assert_close(logits(loaded), logits(model), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits(loaded), logits(tiny(VOCABULARY)), atol=1e-3)
    assert not [path for path in directory.iterdir() if "adapter" in path.name or path.name == "training_args.bin"]
    assert save_checkpoint(work, trainer, RENDERER.tokenizer, work.preset.sft, Papers(extra={"turns": 12})) == version


def test_a_full_fine_tune_is_stored_as_transformers_saves_it(tmp_path: Path) -> None:
    model = tiny(VOCABULARY)
    trainer = fit(model, RENDERER.tokenizer, rows(12, VOCABULARY), config(), tmp_path / "scratch", Progress())
    work = job(tmp_path)
    version = save_checkpoint(work, trainer, RENDERER.tokenizer, work.preset.sft, Papers())
    model.save_pretrained(tmp_path / "plain")
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        stored = Store(work.store).path(CHECKPOINTS, version) / name
        assert stored.read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.parametrize("steps", [0, 2], ids=["before the first saved step", "after two steps"])
def test_a_stopped_run_with_adapters_ends_with_the_same_checkpoint(steps: int, tmp_path: Path) -> None:
    lora = LoraConfig(rank=4, alpha=8, dropout=0.2)  # so that the random state has to come back, too
    batch, figures, work = rows(16, VOCABULARY), config(steps=4), job(tmp_path)

    def run(name: str, progress: Progress) -> str:
        trainer = fit(adapted(lora), RENDERER.tokenizer, batch, figures, tmp_path / name, progress)
        return save_checkpoint(work, trainer, RENDERER.tokenizer, work.preset.sft, Papers())

    unbroken = run("unbroken", Progress())
    with pytest.raises(Interrupted):
        run("broken", StopsAfter(max(steps, 1)))
    if not steps:
        shutil.rmtree(tmp_path / "broken")
    assert run("broken", Progress()) == unbroken
