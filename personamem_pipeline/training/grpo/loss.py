"""What is added around TRL's loss: the correction for another sampler, old log-probabilities, the distance to the start.

All three come from the log-probabilities that the loss computes anyway, so none costs a forward pass, except those of the
starting model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from trl import GRPOTrainer
from trl.trainer import utils as trl_utils

from personamem_pipeline.presets import GrpoConfig
from personamem_pipeline.training.grpo.watch import Means, entropy_by_kind


def importance_ratio(fresh: torch.Tensor, sampled: torch.Tensor, clip: float) -> torch.Tensor:
    """exp(fresh - sampled), at most `clip`, (m, C): token-level truncated importance sampling.

    It corrects for an engine whose probabilities differ a little from the trained model's. Tokens that the engine gave no
    probability for (NaN) count as sampled by the model. The sequence-level product explodes or vanishes with length
    (memory-rl.md 2.2 no. 11), so there is none.
    """
    return torch.exp(torch.nan_to_num(fresh.detach() - sampled, nan=0.0)).clamp(max=clip)


def k3(start: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
    """Schulman's estimate of KL(policy || start) per sampled token: exp(d) - d - 1, d = start - fresh; never negative."""
    difference = start - fresh.detach()
    return torch.exp(difference) - difference - 1


@contextmanager
def sampled_positions_only() -> Iterator[None]:
    """Have TRL project only sampled positions onto the vocabulary, on every device.

    Without Triton TRL 1.16 projects the prompts as well (`trainer/utils.py`, `_fused_forward`), so that shapes stay the
    same on accelerators that compile for each. On a CPU that is most of a training step: `benchmarks/grpo.py`, part (a).
    """
    before = trl_utils._use_triton
    trl_utils._use_triton = lambda device: True  # in that module it decides this and nothing else
    try:
        yield
    finally:
        trl_utils._use_triton = before


class LossHookTrainer(GRPOTrainer):  # type: ignore[misc]
    """`GRPOTrainer` that looks at the log-probabilities inside its own loss. Expects `config` and `means` on itself."""

    config: GrpoConfig
    beta: float
    means: Means
    _micro_batch: dict[str, torch.Tensor] | None = None
    _start: Any = None

    def keep_start(self) -> None:
        """Keep a frozen copy of the model as it is now, where the distance to it is logged but not paid for.

        With a KL term TRL keeps one itself, and adapters can simply be switched off. The copy of new adapters that TRL
        makes with a KL term goes: transformers would resume from it alone, and leave the trained ones at their start.
        """
        if self._adapters and "ref" in self.accelerator.unwrap_model(self.model).peft_config:
            self.accelerator.unwrap_model(self.model).delete_adapter("ref")
        if self.config.monitor_kl and self.beta == 0.0 and not self._adapters:
            self._start = copy.deepcopy(self.accelerator.unwrap_model(self.model)).eval().requires_grad_(False)

    @property
    def _adapters(self) -> bool:
        return hasattr(self.accelerator.unwrap_model(self.model), "peft_config")

    def start_logps(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`ref_per_token_logps` (m, C) of the starting model where the KL term or its log needs them."""
        if self.beta == 0.0 and not self.config.monitor_kl:
            return {}
        with torch.no_grad():
            if self._adapters:
                with self.accelerator.unwrap_model(self.model).disable_adapter():
                    return {"ref_per_token_logps": self._logps(self.model, batch)}
            return {"ref_per_token_logps": self._logps(self.ref_model or self._start, batch)}

    def _logps(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logps: torch.Tensor = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
            batch["completion_ids"].size(1),
        )[0]
        return logps

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self._micro_batch = inputs
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        finally:
            self._micro_batch = None
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        with sampled_positions_only():
            out = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if self._micro_batch is not None:
            self._inside_loss(self._micro_batch, out[0], out[1])
        return out

    def _inside_loss(self, batch: dict[str, torch.Tensor], fresh: torch.Tensor, entropies: torch.Tensor) -> None:
        """Called by the loss before it reads advantages and old log-probabilities from the batch."""
        mask = batch["completion_mask"]
        self.means.merge(entropy_by_kind(entropies.detach(), mask, batch["turn_kind"]))
        if "ref_per_token_logps" in batch:
            distance = k3(batch["ref_per_token_logps"], fresh) * mask
            self.means.add("kl_to_start", float(distance.sum()), int(mask.sum()))
        if self.num_iterations > 1:  # the first pass finds the model that sampled, the others read what it found
            batch.setdefault("old_per_token_logps", fresh.detach())
        if "sampling_per_token_logps" in batch:
            ratio = importance_ratio(fresh, batch.pop("sampling_per_token_logps"), self.config.importance_clip)
            self.means.add("sampling/ratio", float((ratio * mask).sum()), int(mask.sum()))
            # The clipped surrogate is positively homogeneous in the advantage: a factor of a token's loss can go there.
            batch["advantages"] = batch["advantages"].view(-1, 1) * ratio
