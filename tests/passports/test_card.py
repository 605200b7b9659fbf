from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from personamem_pipeline.lineage import CHECKPOINTS
from personamem_pipeline.passports.card import CARD, attach_card, model_card
from personamem_pipeline.passports.records import Author, Data, Passport, Reward
from personamem_pipeline.store import Store

A, B = "a" * 64, "b" * 64


def passport(author: str = "simulator/1", **more: Any) -> Passport:
    authors = (
        Author(
            stage="persona_seeds", author=None, code_version="seeds/3", prompts=None, seed="0", rows=12, shards=(B,)
        ),
        Author(
            stage="personas", author=author, code_version="personas/3", prompts=B, seed="0", rows=12000, shards=(B,)
        ),
    )
    values = {
        "stage": "grpo_checkpoint",
        "inputs": {"training_dataset": B},
        "code_version": "grpo/4+1",
        "preset": {"name": "demo", "section": {"steps": 24, "lora": None, "rewards": {"choice": 1.0}}, "digest": B},
        "memory": {"prompts": "compact", "chunk_tokens": 64},
        "packages": {"torch": "2.13.0"},
        "data": Data(dataset="training_dataset", version=B, authors=authors),
        "reward": Reward(version=B, weights={"choice": 1.0, "format": 0.0}, judge="judge|1", judge_prompts=B),
        "rows": {"steps": 24, "rows": 960},
    }
    return Passport.model_validate({**values, **more})


def system(name: str, model: str, accuracy: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "label": name, "model": model, "accuracy": accuracy, "low": 0.2, "high": 0.6, **more}


RESULTS: dict[str, Any] = {
    "benchmark": {"questions": 1047, "option_orders": 2},
    "systems": [
        system("base <b>", "base", 0.25),
        system("after GRPO", "grpo", 0.471),
        system("other", "x", 0.3, low=None, high=None),
    ],
    "leak_probe": [{"system": "grpo", "causal": True, "equal": True}],
    "regressions": ["grpo fell by 9.0 points"],
    "remarks": ["3 people are few"],
}


def test_a_card_of_an_unjudged_checkpoint_says_so() -> None:
    card = model_card(passport(), A, None, None)
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head)["tags"][-1] == "grpo_checkpoint"
    assert text.startswith(f"\n# grpo_checkpoint {A[:12]}\n")
    for words in (
        "## Intended use", "Not for decisions about people", "## Results\n\nNone yet.", "has **not been evaluated**",
        "rule-based **simulator**", "| personas | `simulator/1` | bbbbbbbbbbbb | 12,000 |",
        "| persona_seeds | no model | none | 12 |",
        "| rewards.choice | 1.0 |", "steps: 24, rows: 960.", "open answers were judged by `judge\\|1`", "| choice | 1.0 |",
        "| chunk_tokens | 64 |", f"| parent training_dataset | {B} |", f"`personamem verify {A}`",
    ):  # fmt: skip
        assert words in text, words
    assert "lora" not in text and "| format |" not in text, "what is not set or pays nothing is left out"


def test_a_judged_one_has_the_table_and_what_was_found() -> None:
    card = model_card(passport("gpt"), A, RESULTS, B)
    for words in (
        f"1,047 questions in 2 option orders, about people that no training row knows; from report `{B[:12]}`",
        "| base &lt;b> | 25.0 % | 20.0 to 60.0 |", "| **after GRPO** | **47.1 %** | **20.0 to 60.0** |",
        "| other | 30.0 % | none |",
        "Leak probe (grpo): no memory changed", "Against the report before: grpo fell by 9.0 points.", "- 3 people are few",
    ):  # fmt: skip
        assert words in card, words
    assert "simulator" not in card and "not been evaluated" not in card
    leaking = {**RESULTS, "leak_probe": [{"system": "grpo", "causal": True, "equal": False}], "regressions": None}
    told = model_card(passport(), A, leaking, B)
    assert "**The question reached the memories of grpo.**" in told and "not compared with an earlier report" in told
    assert "was not probed" in model_card(passport(), A, {**RESULTS, "leak_probe": []}, B)


def test_a_card_of_an_old_passport_claims_nothing() -> None:
    """Format 1 states neither data nor reward."""
    old = Passport(stage="base_model", inputs={}, code_version="base/1")
    text = model_card(old, A, None, None)
    assert "## Data" not in text and "## Training" not in text and "## How it reads" not in text


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "passport.json").write_text(passport().model_dump_json())
    store = Store(tmp_path / "store")
    store.put_directory(CHECKPOINTS, tmp_path / "made", parents={}, producer={})
    return store


def test_a_card_is_attached_and_one_with_results_stays(store: Store) -> None:
    (version,) = store.versions(CHECKPOINTS)
    first = attach_card(store, version)
    assert store.attachments(CHECKPOINTS, version)[CARD].decode() == first
    judged = attach_card(store, version, RESULTS, B)
    assert judged != first
    assert attach_card(store, version) == judged, "made again, a checkpoint does not lose its figures"
    assert attach_card(store, version, {**RESULTS, "regressions": []}, A) != judged
    assert store.verified(CHECKPOINTS, version)
