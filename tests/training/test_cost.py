"""The cost model: its tokens are those of a real run, its operations those that torch counts, its hours the study's."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.chunking import render_messages
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.memory.generators.transformers import TransformersGenerator
from personamem_pipeline.memory.prompts import EMPTY
from personamem_pipeline.presets import BaseConfig, LoraConfig, MemoryConfig, ModelShape, Preset, load_preset
from personamem_pipeline.seeds import rng
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.training.cost import Stage, estimate
from personamem_pipeline.training.cost_device import DEVICES
from personamem_pipeline.training.cost_flops import adapter_parameters, attention, forward, parameters, training
from personamem_pipeline.training.cost_lengths import Lengths, expected_lengths, workload
from personamem_pipeline.training.cost_memory import key_value_bytes, layer_bytes
from personamem_pipeline.training.cost_shape import model_shape
from personamem_pipeline.training.cost_workload import Asked, Episode, Template, Templates, Turn, Workload, measure
from personamem_pipeline.training.grpo.credit import rollout_rows
from personamem_pipeline.training.grpo.curriculum import Item
from personamem_pipeline.training.grpo.rollouts import PolicyGenerator, Rollout, Sampled, run_rollouts
from personamem_pipeline.training.lora import with_adapters
from tests.rooms import rooms

GROUP, QUESTIONS = 3, 2
MEMORY = load_preset("demo").memory


@cache
def tiny_base() -> TransformersGenerator:
    return TransformersGenerator(PROJECT / "models" / "tiny-base")


def words(text: str) -> int:
    return len(text.split())


# ---- tokens


def blocks() -> tuple[list[list[Item]], list[Any]]:
    """Two persons, GROUP rollouts each, a choice and an open question to every memory."""
    made = rooms()
    items, histories = [], []
    for history in made.histories[:2]:
        asked = [question for question in made.questions if question.person_id == history.person_id][:QUESTIONS]
        options = dict(zip("abcd", asked[0].options, strict=True))
        own = [Item(asked[0], options, "a"), Item(asked[1], None, None)]
        items += [own] * GROUP
        histories += [history.messages] * GROUP
    return items, histories


def roll_out(config: MemoryConfig, generator: Any) -> list[Rollout]:
    items, histories = blocks()
    return run_rollouts(items, histories, generator, config, temperature=1.0, seed=5)


def wrap(renderer: Renderer) -> tuple[int, int]:
    """The chat template's tokens before and after a message."""
    pairs = zip(renderer.prompt_ids("tea"), renderer.prompt_ids("coffee"), strict=False)
    before = next(i for i, (one, other) in enumerate(pairs) if one != other)
    return before, len(renderer.prompt_ids("")) - before


def episode(rollout: Rollout, histories: Any, renderer: Renderer, config: MemoryConfig) -> Episode:
    """The lengths of a rollout's parts, each counted by itself."""

    def asked(item: Item, sampled: int) -> Asked:
        lettered = "".join(f"\n{text} ({letter})" for letter, text in (item.options or {}).items())
        return Asked(renderer.count(f" {item.question.user_query}{lettered}"), item.options is None, sampled)

    return Episode(
        chunks=tuple(renderer.count(render_messages(turn.chunk)) for turn in rollout.turns),
        written=tuple(len(turn.generation.token_ids) for turn in rollout.turns),
        kept=tuple(renderer.count(turn.memory or EMPTY) for turn in rollout.turns),
        asked=tuple(
            asked(item, len(reply.token_ids)) for item, reply in zip(rollout.items, rollout.answers, strict=True)
        ),
        chat=renderer.count(render_messages(histories)),
    )


def measured(rollouts: Sequence[Rollout], renderer: Renderer, config: MemoryConfig, block: int = 16) -> Workload:
    episodes = [
        episode(rollout, messages, renderer, config) for rollout, messages in zip(rollouts, blocks()[1], strict=True)
    ]
    groups = [episodes[start : start + GROUP] for start in range(0, len(episodes), GROUP)]
    return measure(groups, Templates.of(config, renderer.count, wrap(renderer)), config, block=block)


@pytest.mark.parametrize("change", [{}, {"order": "memory_first"}, {"protocol": "full_context"}])
def test_tokens_are_those_of_a_real_run(change: dict[str, str]) -> None:
    config, generator = MEMORY.model_copy(update=change), tiny_base()
    rollouts = roll_out(config, generator)
    work = measured(rollouts, generator.renderer, config)
    rows = [
        row
        for number, rollout in enumerate(rollouts)
        for row in rollout_rows(number, rollout, [0.0] * QUESTIONS, [True] * QUESTIONS)
    ]
    counted = [(len(row.prompt_ids), len(row.completion_ids)) for row in rows]
    assert [(turn.prompt, turn.completion) for turn in work.turns] == counted
    assert work.rows == len(rows) and work.answers == 2 * GROUP * QUESTIONS
    assert work.prompt_tokens == sum(prompt for prompt, _ in counted)
    assert work.sampled_tokens == sum(sampled for _, sampled in counted)
    assert work.tokens == sum(row.size for row in rows) and work.longest == max(row.size for row in rows)
    if config.protocol == "memory":
        assert len(rows) > work.answers and any(turn.memory for rollout in rollouts for turn in rollout.turns)


def unseen(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens of prompts that no prompt before them began with: what a prefix cache without blocks leaves to compute."""
    seen: set[tuple[int, ...]] = set()
    computed = 0
    for prompt in prompts:
        ids = tuple(prompt)
        known = next((end for end in range(len(ids) - 1, 0, -1) if ids[:end] in seen), 0)
        computed += len(ids) - known
        seen |= {ids[:end] for end in range(1, len(ids) + 1)}
    return computed


@pytest.mark.parametrize("order", ["chunk_first", "memory_first"])
def test_the_prefix_cache_is_what_prompts_share(order: str) -> None:
    config, renderer = MEMORY.model_copy(update={"order": order}), tiny_base().renderer
    vocabulary = [word for word in sorted(renderer.tokenizer.get_vocab()) if word.isalpha() and len(word) > 3]
    rng(0, "words").shuffle(vocabulary)

    def sample(rows: list[list[int]], max_tokens: int, temperature: float, seed: int) -> Sampled:
        # Memories that differ from the first word on: what rollouts share by chance is not counted as cached.
        return [renderer.completion_ids(f"{vocabulary[i]} tea") for i in range(len(rows))], None

    rollouts = roll_out(config, PolicyGenerator(renderer, sample))
    work = measured(rollouts, renderer, config, block=1)
    of = {
        (start, call): [rollout.turns[call].generation.prompt_ids for rollout in rollouts[start : start + GROUP]]
        for start in (0, GROUP)
        for call in range(len(rollouts[start].turns))
    }
    writes = Workload(tuple(turn for turn in work.turns if turn.kind == "write"))
    assert writes.uncached_tokens == sum(unseen(prompts) for prompts in of.values())
    answers = Workload(tuple(turn for turn in work.turns if turn.kind == "answer"))
    asked = [[reply.prompt_ids for rollout in rollouts[s : s + GROUP] for reply in rollout.answers] for s in (0, GROUP)]
    assert answers.uncached_tokens == pytest.approx(sum(map(unseen, asked)), rel=0.05)


def test_chunk_first_shares_more_and_questions_share_the_writing() -> None:
    preset = load_preset("published")
    lengths, templates = expected_lengths(preset), Templates.of(preset.memory, words)

    def of(memory: dict[str, Any] | None = None, **grpo: Any) -> Workload:
        changed = {"memory": preset.memory.model_copy(update=memory), "grpo": preset.grpo.model_copy(update=grpo)}
        return workload(preset.model_copy(update=changed), lengths, templates)

    one, other = of(), of({"order": "memory_first"})
    assert one.prompt_tokens == other.prompt_tokens and one.uncached_tokens < 0.4 * other.uncached_tokens
    assert one.rows == pytest.approx(32 * 8 * (lengths.chunks + 1)) and one.answers == pytest.approx(256)
    shared = of(questions_per_memory=4)
    assert shared.answers == pytest.approx(256)
    assert shared.rows - 256 == pytest.approx((one.rows - 256) / 4)
    full = of({"protocol": "full_context"})
    assert full.rows == pytest.approx(256) and full.prompt_tokens > 256 * lengths.chat
    assert full.uncached_tokens < full.prompt_tokens / 7


# ---- operations


def tiny(layers: int = 3) -> tuple[Any, ModelShape]:
    config = Qwen3Config(
        vocab_size=320, hidden_size=64, intermediate_size=160, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, head_dim=24, tie_word_embeddings=True, attn_implementation="eager",
    )  # fmt: skip
    shape = ModelShape(
        layers=layers, hidden=64, intermediate=160, heads=4, kv_heads=2, head_dim=24, vocabulary=320, context=1024
    )
    torch.manual_seed(0)
    return Qwen3ForCausalLM(config).float().train(), shape


def counted(model: Any, prompt: int, sampled: int, *, backward: bool) -> int:
    ids = torch.randint(0, 320, (1, prompt + sampled))
    with FlopCounterMode(display=False) as counter:
        out = model(input_ids=ids, logits_to_keep=sampled, use_cache=False)
        if backward:
            out.logits.sum().backward()
    return int(counter.get_total_flops())


PROMPT, SAMPLED = 90, 38
ROW = Workload((Turn("write", 0, PROMPT, SAMPLED, 0),))


def upper_triangle(shape: ModelShape) -> float:
    """What eager attention multiplies and masks, and a causal kernel skips: the other half of the square."""
    return attention(shape, 0, PROMPT + SAMPLED)


def test_parameters_are_counted_exactly() -> None:
    model, shape = tiny()
    assert parameters(shape) == sum(weight.numel() for weight in model.parameters())
    lora = LoraConfig(rank=5)
    adapted = with_adapters(model, lora, seed=0)
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert adapter_parameters(shape, lora) == trained
    assert parameters(model_shape(load_preset("published").base)) == pytest.approx(4.022e9, rel=1e-3)


def test_a_forward_pass_is_what_torch_counts() -> None:
    model, shape = tiny()
    with torch.no_grad():
        seen = counted(model, PROMPT, SAMPLED, backward=False)
    # The rest are the angles of the rotary embedding, which torch counts as a matrix product.
    assert forward(shape, ROW) + upper_triangle(shape) == pytest.approx(seen, rel=0.002)


@pytest.mark.parametrize(("checkpointing", "passes"), [(False, 3), (True, 4)])
def test_forward_and_backward_are_what_torch_counts(checkpointing: bool, passes: int) -> None:
    model, shape = tiny()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    seen = counted(model, PROMPT, SAMPLED, backward=True)
    ours = training(shape, ROW, None, checkpointing=checkpointing) + passes * upper_triangle(shape)
    # torch stops computing a layer again once it has what it saved, which spares the layer's last matrix.
    spared = 2 * shape.layers * shape.hidden * shape.intermediate * (PROMPT + SAMPLED) if checkpointing else 0
    assert ours - spared == pytest.approx(seen, rel=0.003) and spared < 0.06 * ours


def test_adapters_spare_the_gradients_of_the_frozen_weights() -> None:
    model, shape = tiny()
    lora = LoraConfig(rank=4)
    adapted = with_adapters(model, lora, seed=0)
    adapted.enable_input_require_grads()  # as trainers do, for checkpointing
    adapted.gradient_checkpointing_enable({"use_reentrant": False})
    seen = counted(adapted, PROMPT, SAMPLED, backward=True)
    ours = training(shape, ROW, lora) + 4 * upper_triangle(shape)
    assert ours == pytest.approx(seen, rel=0.01)
    assert ours < 0.92 * (training(shape, ROW, None) + 4 * upper_triangle(shape))


# ---- the study's table (memory-rl.md 3.2), on its own lengths: 7 chunks of 5k, template 250, query and options 400

STUDY = Templates(*[Template(20, 10, 220)] * 3, empty=1)
EXPECTED = Lengths(7, 5000, 900, 500, 400, 400)
CAPS = Lengths(7, 5000, 2048, 1024, 400, 400, longest=1.0)


def stage(lengths: Lengths, name: str = "published", **grpo: Any) -> Stage:
    preset = load_preset(name)
    preset = preset.model_copy(update={"grpo": preset.grpo.model_copy(update=grpo)})
    return estimate(preset, DEVICES["h100"], words, lengths=lengths, templates=STUDY).stages[1]


@pytest.mark.parametrize(
    ("made", "tokens", "sampled", "rows", "train", "decode", "total"),
    [
        (stage(CAPS), 17.2, 3.9, 2048, (217, 289), 290, (630, 720)),
        (stage(EXPECTED), 12.9, 1.7, 2048, (152, 203), 170, (420, 480)),
        (stage(EXPECTED, prompts_per_step=16), 6.5, 0.9, 1024, (76, 101), 105, (205, 275)),
        (stage(EXPECTED, questions_per_memory=4), 3.6, 0.5, 704, (41, 55), 85, (140, 190)),
        (
            stage(Lengths(1, 33350, 0, 2048, 400, 400, longest=1.0), "long-context"),
            9.2,
            0.5,
            256,
            (209, 279),
            155,
            (350, 580),
        ),
    ],
    ids=["A", "B", "C", "E", "long context"],
)
def test_the_studys_table(
    made: Stage,
    tokens: float,
    sampled: float,
    rows: int,
    train: tuple[float, float],
    decode: float,
    total: tuple[float, float],
) -> None:
    assert made.work.tokens / 1e6 == pytest.approx(tokens, rel=0.02)
    assert made.work.sampled_tokens / 1e6 == pytest.approx(sampled, abs=0.05)
    assert made.work.rows == pytest.approx(rows)
    assert (made.good.train, made.careful.train) == pytest.approx(train, rel=0.03)
    assert made.good.decode == pytest.approx(decode, rel=0.2)
    low, high = total
    assert 0.9 * low < made.good.total < made.careful.total < 1.02 * high


def test_the_studys_memory() -> None:
    shape = model_shape(load_preset("published").base)
    memory = stage(CAPS).memory
    assert memory.weights + memory.gradients + memory.optimizer == pytest.approx(8e9, rel=0.02)
    assert key_value_bytes(shape) == pytest.approx(147e3, rel=0.01)
    assert memory.checkpoints == pytest.approx(3.4e9, rel=0.02)  # 2 rows of 9.3k
    assert memory.layer == pytest.approx(3e9, rel=0.1)
    assert memory.head == pytest.approx(0.5e9, rel=0.1)
    assert memory.total - memory.engine - memory.reference < 20e9
    assert 36 * layer_bytes(shape) == pytest.approx(4.5e6, rel=0.25)  # per token, without checkpointing


# ---- presets and models


@pytest.mark.parametrize("name", ["published", "released", "released-data", "long-context", "128k", "one-gpu"])
@pytest.mark.parametrize("worst", [False, True])
def test_every_preset_fits_its_gpus_and_its_model(name: str, worst: bool) -> None:
    made = estimate(load_preset(name), DEVICES["h100"], words, worst=worst)
    for own in made.stages:
        assert own.memory.total < 0.9 * made.device.memory
        assert own.work.longest < made.shape.context
        assert own.hours[0] < own.hours[1] < 150


def test_worst_costs_more_than_expected_and_more_gpus_are_faster() -> None:
    preset, h100 = load_preset("published"), DEVICES["h100"]
    expected, worst = estimate(preset, h100, words), estimate(preset, h100, words, worst=True)
    assert worst.lengths.memory == 2048 and worst.lengths.chunks == 8
    assert all(one.hours < other.hours for one, other in zip(expected.stages, worst.stages, strict=True))
    four = estimate(preset, h100, words, gpus=4)
    ratio = four.stages[1].hours[0] / expected.stages[1].hours[0]
    assert 1.5 < ratio < 2 and four.stages[1].memory.optimizer == 2 * expected.stages[1].memory.optimizer
    with pytest.raises(UserError, match="sft on 3 GPUs"):
        estimate(preset, h100, words, gpus=3)


def test_the_models_own_config_counts_where_it_is_at_hand(tmp_path: Path) -> None:
    tiny_shape = model_shape(load_preset("demo").base)
    assert parameters(tiny_shape) == sum(weight.numel() for weight in tiny_base().model.parameters())
    config = {
        "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4,
        "vocab_size": 7, "max_position_embeddings": 64,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = model_shape(BaseConfig(path=str(tmp_path), shape=tiny_shape))
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.tied) == (2, 4, 4, False)
    for change in ({"num_experts": 8}, {"vocab_size": None}):
        kept = {key: value for key, value in {**config, **change}.items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(kept))
        with pytest.raises(UserError, match=r"dense|vocab_size"):
            model_shape(BaseConfig(path=str(tmp_path)))
    with pytest.raises(UserError, match="does not say how large"):
        model_shape(BaseConfig(path="models/none"))


def test_replies_that_do_not_fit_the_engines_cache_wait() -> None:
    room, crowded = stage(CAPS), stage(CAPS, vllm_memory=0.2)
    assert crowded.good.decode > 1.2 * room.good.decode
    assert crowded.memory.engine == 0.2 * 80e9


def preset_without(preset: Preset, **grpo: Any) -> Preset:
    return preset.model_copy(update={"grpo": preset.grpo.model_copy(update=grpo)})


def test_the_distance_to_the_start_costs_a_forward_pass() -> None:
    preset = load_preset("published")
    paid = estimate(preset, DEVICES["h100"], words).stages[1]
    free = estimate(preset_without(preset, beta=0.0), DEVICES["h100"], words).stages[1]
    assert paid.flops.training == free.flops.training and free.flops.reference == 0
    assert paid.flops.reference == pytest.approx(paid.flops.training / 4, rel=0.01)
    assert paid.memory.reference > 0 == free.memory.reference
