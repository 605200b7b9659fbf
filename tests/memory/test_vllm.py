"""vLLM says what transformers says, draws by seed, and reads shared prefixes once. `make vllm` runs these."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("vllm") is None:
    pytest.skip("vllm is not installed", allow_module_level=True)

from tests.tiny_vllm import CONTEXT, save_tiny  # isort: skip  # before vllm

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.models import Models, local_model
from personamem_pipeline.memory.generators.decoded import Decoded
from personamem_pipeline.memory.generators.load import load_generator
from personamem_pipeline.memory.generators.transformers import TransformersGenerator
from personamem_pipeline.memory.generators.vllm import VllmGenerator
from personamem_pipeline.memory.prompts import write_prompt
from personamem_pipeline.presets import MemoryConfig, load_preset
from personamem_pipeline.records import Message

pytestmark = pytest.mark.vllm
PROMPTS = ["green tea", "I left my bamboo whisk.", "You could try green tea. none", "user: bamboo (a) tea b c d"]
BLOCK = 32
"""Tokens that the prefix cache keeps together, on this engine."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(directory: Path) -> Iterator[VllmGenerator]:
    generator = VllmGenerator(
        directory, context=CONTEXT, block_size=BLOCK, max_num_seqs=32, max_num_batched_tokens=CONTEXT
    )
    yield generator
    generator.close()


def test_greedy_replies_are_those_of_transformers(engine: VllmGenerator, directory: Path) -> None:
    ours = engine.generate(PROMPTS, max_tokens=12)
    theirs = TransformersGenerator(directory).generate(PROMPTS, max_tokens=12)
    assert [(one.prompt_ids, one.token_ids, one.text, one.finished) for one in ours] == [
        (one.prompt_ids, one.token_ids, one.text, one.finished) for one in theirs
    ]
    assert len({one.token_ids for one in ours}) > 1, "the model does not say one thing to everything"


def test_logprobs_are_the_models(engine: VllmGenerator, directory: Path) -> None:
    import torch

    model = TransformersGenerator(directory).model
    for temperature in (1.0, 0.7):
        for reply in engine.generate(PROMPTS, max_tokens=12, temperature=temperature, seed=4):
            ids = torch.tensor([[*reply.prompt_ids, *reply.token_ids]])
            with torch.inference_mode():
                logits = model(ids).logits[0, len(reply.prompt_ids) - 1 : -1] / temperature
            expected = torch.log_softmax(logits, dim=-1)[torch.arange(len(reply.token_ids)), list(reply.token_ids)]
            torch.testing.assert_close(torch.tensor(reply.logprobs), expected, atol=1e-4, rtol=1e-4)


def test_draws_depend_on_the_seed_alone(engine: VllmGenerator) -> None:
    def texts(seed: int) -> list[tuple[int, ...]]:
        return [reply.token_ids for reply in engine.generate(PROMPTS, max_tokens=12, temperature=1.0, seed=seed)]

    first = texts(1)
    assert texts(2) != first
    assert texts(1) == first


def test_equal_prompts_of_one_call_get_different_replies(engine: VllmGenerator) -> None:
    replies = engine.generate([PROMPTS[0]] * 8, max_tokens=12, temperature=1.0, seed=1)
    assert len({reply.token_ids for reply in replies}) == 8
    assert len({reply.token_ids for reply in engine.generate([PROMPTS[0]] * 8, max_tokens=12)}) == 1, "greedy"


def test_a_prompt_that_is_read_in_parts_draws_as_one_that_is_read_at_once(engine: VllmGenerator) -> None:
    long = [f"{word} " + "I left my bamboo whisk. green tea none " * 40 for word in ("tea", "none", "could", "try")]
    assert sum(engine.count(text) for text in long) > 2 * CONTEXT, "more than the engine reads in one step"
    together = engine.generate(long, max_tokens=12, temperature=1.0, seed=5)
    for row in range(len(long)):
        engine.llm.reset_prefix_cache()
        alone = engine.generate([*["tea"] * row, long[row]], max_tokens=12, temperature=1.0, seed=5)[row]
        assert together[row].token_ids == alone.token_ids


def test_what_does_not_fit_is_refused_rather_than_cut(engine: VllmGenerator) -> None:
    with pytest.raises(UserError, match=rf"a reply of {CONTEXT} do not fit into the engine's {CONTEXT}"):
        engine.generate(PROMPTS, max_tokens=CONTEXT)


def test_a_directory_that_is_no_model_is_refused_before_the_engine_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        load_generator(tmp_path, "vllm")


def cached_share(engine: VllmGenerator, config: MemoryConfig, rollouts: int) -> float:
    """Share of the prompt tokens of a group of rollouts that the engine had computed before.

    The memories are made up, as different as those of real rollouts: a random model writes none that would be kept.
    """
    engine.llm.reset_prefix_cache()
    engine.prompt_tokens = engine.cached_tokens = 0
    words = ["I", "left", "my", "bamboo", "whisk.", "green", "tea", "none", "(a)", "You", "could", "try"]
    seen: list[list[int]] = []
    expected = 0
    for turn in range(4):
        chunk = [Message(turn_id=f"m{turn}", role="user", content=" ".join([words[turn], *words * 14]))]
        memories = [" ".join([words[rollout], words[turn], *words]) for rollout in range(rollouts)]
        prompts = [write_prompt(config, chunk, own) for own in memories]
        engine.generate(prompts, max_tokens=4, temperature=1.0)
        for ids in map(engine.renderer.prompt_ids, prompts):
            expected += max((shared(ids, other) // BLOCK * BLOCK for other in seen), default=0)
            seen.append(ids)
    assert engine.cached_tokens == expected, "whole blocks of the longest prefix that an earlier prompt had"
    return engine.cached_tokens / engine.prompt_tokens


def shared(one: list[int], other: list[int]) -> int:
    """Tokens until the two differ."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def test_chunk_first_shares_the_chunk_between_the_rollouts_of_a_group(engine: VllmGenerator) -> None:
    config = MemoryConfig(prompts="compact", chunk_tokens=300, max_chunks=9, memory_tokens=32, answer_tokens=4)
    chunk_first = cached_share(engine, config, rollouts=8)
    memory_first = cached_share(engine, config.model_copy(update={"order": "memory_first"}), rollouts=8)
    print(f"\ncached prompt tokens: chunk first {chunk_first:.1%}, memory first {memory_first:.1%}")
    assert chunk_first > 0.6, "seven of eight rollouts find the chunk"
    assert memory_first < 0.2, "only the words before the memory"


def test_one_checkpoint_after_the_other_as_the_preset_says(directory: Path) -> None:
    """As an evaluation does it: the engine of the first has ended when the second's has started.

    The last test here: in one process, engines share state that ends with any of them, the module's `engine` too.
    """
    config = load_preset("published").evaluation.model_copy(update={"batch_size": 2})
    models = Models({name: local_model(name, name, directory, config) for name in ("sft", "grpo")}, config)
    first, second = (
        decoded.generator
        for decoded in (models.generator("sft"), models.generator("grpo"))
        if isinstance(decoded, Decoded)
    )
    assert isinstance(first, VllmGenerator) and isinstance(second, VllmGenerator)
    assert not first.llm.llm_engine.engine_core._finalizer.alive
    assert second.llm.llm_engine.engine_core._finalizer.alive
    assert second.llm.llm_engine.vllm_config.scheduler_config.max_num_seqs == 2
    assert [reply.text for reply in second.generate(PROMPTS, max_tokens=12)] == [
        reply.text for reply in TransformersGenerator(directory).generate(PROMPTS, max_tokens=12)
    ]
    models.close()
