"""The model card of a checkpoint: what it is, what it may be used for, what it was trained on, and what was measured.

Written from the passport and, once the benchmark has seen it, from the report's `results.json`; nothing in it is typed by
hand, so it cannot promise what was not measured. It is attached beside the checkpoint (`Store.attach`) and is no part of
its version: a report comes after the weights. The same passport and results give the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from personamem_pipeline.lineage import CHECKPOINTS, PASSPORT
from personamem_pipeline.passports.card_parts import cell, remarks, results_text, table
from personamem_pipeline.passports.records import Author, Data, Passport, parse_passport
from personamem_pipeline.store import Store

CARD = "model-card.md"
SIMULATOR = "simulator/"
MODELS = {"base_model": "base", "sft_checkpoint": "sft", "grpo_checkpoint": "grpo"}
"""Stage -> what the report's systems call its checkpoint."""
WHAT = {
    "base_model": "The model that training starts from, as it was given.",
    "sft_checkpoint": "The base model after supervised fine-tuning on turns that write a memory and turns that answer.",
    "grpo_checkpoint": "The SFT model after GRPO over whole rollouts: write a memory chunk by chunk, then answer from it.",
}
_USE = """\
For research on long-term memory and on preferences that people reveal without stating them: reproducing PersonaMem-v2
(arXiv 2512.06688), comparing ways of remembering, studying what a memory keeps and drops.

Not for decisions about people, not for inferring health, origin, orientation or other private matters, and not for real
people's chats without their knowledge. A memory is text that its subject must be able to read, correct and delete."""
_WRITTEN = """\
- The persons and their chats are fictional and were written by {authors}; how well the figures carry over to real people
  is not known. Everything is in English."""
_RULES = """\
- The author is a rule-based **simulator** with a small closed world of topics and sentences. Figures on its data prove the
  machinery, and say nothing about how well a model understands people."""
_UNSEEN = """\
- It has **not been evaluated**: no report names this checkpoint yet."""
_LIMITS = """\
- A memory can be wrong, stale or about somebody else, and can hold what its subject would not want kept."""
_PROTOCOL = """\
- It was trained to read by the protocol below; with other chunk sizes, caps or prompts nothing was measured."""


def attach_card(store: Store, version: str, results: Mapping[str, Any] | None = None, report: str | None = None) -> str:
    """Write the card of a stored checkpoint, attach it, and return it. Without results a card that has some stays."""
    known = store.attachments(CHECKPOINTS, version).get(CARD)
    if known is not None and results is None:
        return known.decode()
    text = model_card(
        parse_passport(store.read(CHECKPOINTS, version, PASSPORT), store.address(CHECKPOINTS, version)),
        version,
        results,
        report,
    )
    store.attach(CHECKPOINTS, version, CARD, text.encode())
    return text


def model_card(passport: Passport, version: str, results: Mapping[str, Any] | None, report: str | None) -> str:
    """The card's Markdown; `results` and `report` (its version) belong together."""
    trained = [_PROTOCOL] if passport.memory and passport.stage != "base_model" else []
    limits = [_authors(passport.data), *([] if results else [_UNSEEN]), _LIMITS, *trained, *remarks(results)]
    sections = {
        "": f"# {passport.stage} {version[:12]}\n\n{WHAT.get(passport.stage, '')}",
        "Intended use": _USE,
        "Results": results_text(MODELS.get(passport.stage), results, report) if results else "None yet.",
        "Limits": "\n".join(part for part in limits if part),
        "How it reads": table(passport.memory),
        "Data": _data(passport),
        "Training": _training(passport),
        "Where it comes from": _origin(passport, version),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" if title else text for title, text in sections.items() if text)
    return f"{_head(passport)}\n{body}\n"


def _head(passport: Passport) -> str:
    """The YAML by which model hubs read a card."""
    facts: dict[str, Any] = {
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["memory", "personalization", "personamem", passport.stage],
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---\n"


def _authors(data: Data | None) -> str:
    names = sorted({author.author for author in data.authors if author.author}) if data else []
    if not names:
        return ""
    ruled = [_RULES] if any(name.startswith(SIMULATOR) for name in names) else []
    return "\n".join([_WRITTEN.format(authors=", ".join(f"`{cell(name)}`" for name in names)), *ruled])


def _data(passport: Passport) -> str:
    if passport.data is None:
        return ""
    lines = [
        f"`{passport.data.dataset}` {passport.data.version}",
        "",
        "| stage | author | prompts | rows |",
        "| --- | --- | --- | ---: |",
    ]
    return "\n".join([*lines, *(_author(author) for author in passport.data.authors)])


def _author(author: Author) -> str:
    who = f"`{cell(author.author)}`" if author.author else "no model"
    return f"| {author.stage} | {who} | {(author.prompts or 'none')[:12]} | {author.rows:,} |"


def _training(passport: Passport) -> str:
    section = passport.preset.get("section")
    parts = [f"Preset `{passport.preset['name']}`.\n\n{table(section)}"] if isinstance(section, Mapping) else []
    if isinstance(passport.rows, Mapping):
        parts.append(", ".join(f"{name}: {number:,}" for name, number in passport.rows.items()) + ".")
    if passport.reward is not None:
        judge = f"`{cell(passport.reward.judge)}`" if passport.reward.judge else "nobody"
        paid = {name: weight for name, weight in passport.reward.weights.items() if weight}
        parts.append(f"Rewarded for what follows; open answers were judged by {judge}.\n\n{table(paid)}")
    return "\n\n".join(parts)


def _origin(passport: Passport, version: str) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in sorted(passport.packages.items()))
    stated: dict[str, Any] = {
        "version": version,
        "code version": passport.code_version,
        **{f"parent {name}": parent for name, parent in sorted(passport.inputs.items())},
        **({"base model": passport.base} if passport.base else {}),
        "packages": packages,
    }
    return f"{table(stated)}\n\nRecompute every digest down to the seeds: `personamem verify {version}`."
