"""Pre-train the tiny base model that this repository ships (`models/tiny-base`), from the simulator's textbook.

    make base       # about half an hour on one core: writes the textbook, trains, saves with a passport

The result is a Qwen3 of half a million parameters that knows the simulator's words and can look things up in lists. It
has never kept a memory over several chunks. It exists because in-context recall takes a from-scratch model longer to
find than a demo may last (`docs/learning.md`); it says nothing about real models.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.memory.generators.rendering import Renderer
from personamem_pipeline.passports.records import Passport
from personamem_pipeline.progress import Progress
from personamem_pipeline.seeds import digest
from personamem_pipeline.store import sha256_file, write_json_atomically
from personamem_pipeline.training.checkpoints import package_versions
from personamem_pipeline.training.supervised import FitConfig, TrainRow, fit
from personamem_pipeline.training.tokenizer import build_tokenizer

CODE_VERSION = "pretrain/2"
ARCHITECTURE = {
    "hidden_size": 96,
    "intermediate_size": 288,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 24,
}


PROMPT_WORDS = (
    "Answer\nChat:\nChoose\nMemory:\nQuestion:\nReply\nWrite\nchunk\nletter\nmemory\noptions\nor\nquery\ntext\n"
    "\n First If assumes choose decides matters nothing or quote reply sentences serves then two"
)
"""Words that the prompts have and the textbook has not, as they stand at the start of a line and within one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textbook", type=Path, required=True, help="JSON lines of {prompt, target}")
    parser.add_argument("--out", type=Path, required=True, help="directory of the model to write")
    parser.add_argument("--scratch", type=Path, required=True, help="where resumable steps live")
    parser.add_argument("--steps", type=int, default=9_000, help="optimizer steps of one cycle")
    parser.add_argument("--cycles", type=int, default=1, help="how often the learning rate rises and decays")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--layers", type=int, default=ARCHITECTURE["num_hidden_layers"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    progress = Progress()
    progress.listen()

    book = [json.loads(line) for line in arguments.textbook.read_text().splitlines()]
    texts = [text for row in book for text in (row["prompt"], row["target"])]
    tokenizer = build_tokenizer([*texts, PROMPT_WORDS])
    renderer = Renderer(tokenizer)
    rows = [
        TrainRow(tuple(renderer.prompt_ids(row["prompt"])), tuple(renderer.completion_ids(row["target"])))
        for row in book
    ]
    architecture = {**ARCHITECTURE, "num_hidden_layers": arguments.layers}
    torch.manual_seed(arguments.seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            tie_word_embeddings=True,
            max_position_embeddings=1024,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **architecture,
        )
    )
    training = {
        "cycles": arguments.cycles,
        "steps_per_cycle": arguments.steps,
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
    }
    # Named by all that decides the weights: another book or figure must not go on from this one's steps.
    scratch = arguments.scratch / digest([CODE_VERSION, texts, training, architecture])[:24]
    for cycle in range(arguments.cycles):
        config = FitConfig(
            steps=arguments.steps,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            warmup_share=0.02,
            max_grad_norm=1.0,
            save_steps=min(arguments.steps, 1000),
            seed=arguments.seed + cycle,
        )
        steps = scratch / f"cycle{cycle}"
        steps.mkdir(parents=True, exist_ok=True)
        fit(model, tokenizer, rows, config, steps, progress)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    passport = Passport(
        format=2,
        stage="pretrain",
        inputs={"textbook": sha256_file(arguments.textbook)},
        code_version=CODE_VERSION,
        preset={"section": training, "digest": digest(training)},
        packages=package_versions(),
        author="simulator/1",
        textbook_rows=len(book),
        architecture=architecture,
        weights_sha256=sha256_file(arguments.out / "model.safetensors"),
        command="make base",
        threads=os.environ.get("OMP_NUM_THREADS", "default"),
        persons="none: the textbook has no persons, and no cue, sentence or question that the benchmark holds out",
    )
    write_json_atomically(arguments.out / PASSPORT, passport.model_dump(mode="json", exclude_defaults=True))
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
