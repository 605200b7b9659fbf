"""A model directory as a generator, by the engine's name: what a preset and the command line choose between.

Each engine is imported when it is chosen, so that a machine without vLLM reads and evaluates with transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from personamem_pipeline.memory.generators.base import Generator


def load_generator(directory: Path, engine: Literal["transformers", "vllm"], *, batch_size: int = 64) -> Generator:
    """The model in `directory`, run by `engine`, at most `batch_size` replies at a time.

    Raises:
        UserError: vLLM is chosen and not installed, or the directory is no whole model.
    """
    if engine == "vllm":
        from personamem_pipeline.memory.generators.vllm import VllmGenerator

        return VllmGenerator(directory, max_num_seqs=batch_size)
    from personamem_pipeline.memory.generators.transformers import TransformersGenerator

    return TransformersGenerator(directory, batch_size=batch_size)
