"""Papers whose digests are all right and that are not true: held against what lies in the store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personamem_pipeline.arrow import stream_parquet, write_parquet
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.making import attach_making
from personamem_pipeline.questions.copying import HISTORIES
from personamem_pipeline.records import History
from personamem_pipeline.store import MANIFEST
from tests.passports.chains import Chain, checkpoint, making, questions, reward, trained

GRPO = "grpo_checkpoint"


def with_passport(chain: Chain, **changed: Any) -> None:
    """Store a grpo_checkpoint whose passport says something else, every digest of it being right."""
    ids = [row.question_id for row in questions(chain)[:4]]
    chain.versions[GRPO] = checkpoint(chain, GRPO, changed, [ids])
    attach_making(chain.store, making(chain, GRPO))


def passport(chain: Chain) -> dict[str, Any]:
    return dict(json.loads((chain.directory(GRPO) / PASSPORT).read_text()))


def another_base(chain: Chain) -> tuple[str, str]:
    with_passport(chain, base="0" * 64)
    return "base is the chain's", "grew from another model"


def another_author(chain: Chain) -> tuple[str, str]:
    data = passport(chain)["data"]
    data["authors"][1]["author"] = "a better one"
    with_passport(chain, data=data)
    return "data agrees with the shards", "other authors, prompts or seeds"


def an_author_left_out(chain: Chain) -> tuple[str, str]:
    data = passport(chain)["data"]
    del data["authors"][0]
    with_passport(chain, data=data)
    return "data agrees with the shards", "other authors, prompts or seeds"


def another_dataset(chain: Chain) -> tuple[str, str]:
    data = passport(chain)["data"] | {"version": chain.versions["benchmark"]}
    with_passport(chain, data=data)
    return "data agrees with the shards", "other authors, prompts or seeds"


def another_parent(chain: Chain) -> tuple[str, str]:
    inputs = passport(chain)["inputs"] | {"sft_checkpoint": chain.versions["base_model"]}
    with_passport(chain, inputs=inputs)
    return "passport agrees with the manifest", "different stories"


def other_figures(chain: Chain) -> tuple[str, str]:
    preset = passport(chain)["preset"]
    preset["section"]["learning_rate"] = 9.0
    with_passport(chain, preset=preset)
    return "preset section has its digest", "not those it was trained with"


def another_reward(chain: Chain) -> tuple[str, str]:
    with_passport(chain, reward=reward({"choice": 9.0}))
    return "reward is the preset's", "paid for something else"


def another_judge(chain: Chain) -> tuple[str, str]:
    with_passport(chain, reward=passport(chain)["reward"] | {"judge": "a better one", "judge_prompts": "0" * 64})
    return "reward is the preset's", "paid for something else"


def another_rewards_version(chain: Chain) -> tuple[str, str]:
    with_passport(chain, reward=passport(chain)["reward"] | {"version": "0" * 64})
    return "reward is the preset's", "paid for something else"


def a_judge_without_prompts(chain: Chain) -> tuple[str, str]:
    with_passport(chain, reward=reward({"choice": 1.0}, judge="judge/1"))
    return "reward is the preset's", "paid for something else"


def a_passport_that_is_none(chain: Chain) -> tuple[str, str]:
    with chain.store.staging() as directory:
        (directory / PASSPORT).write_text('{"stage": "grpo_checkpoint"}')
        parents = chain.store.manifest("checkpoints", chain.versions[GRPO]).parents
        put = chain.store.put_directory("checkpoints", directory, parents=parents, producer={"stage": GRPO})
    chain.versions[GRPO] = put.version
    attach_making(chain.store, making(chain, GRPO))
    return "passport", "does not say what it was made from"


def fewer_steps(chain: Chain) -> tuple[str, str]:
    with_passport(chain, rows={"steps": 2, "rows": 4})
    return "rows are the dataset's", "a person who withdraws may be overlooked"


def a_strange_row(chain: Chain) -> tuple[str, str]:
    chain.versions[GRPO] = checkpoint(chain, GRPO, {}, [["nobody.p0.q0"]])
    attach_making(chain.store, making(chain, GRPO))
    return "rows are the dataset's", "a person who withdraws may be overlooked"


def other_packages(chain: Chain) -> tuple[str, str]:
    name = attach_making(chain.store, making(chain, GRPO, packages={"torch": "1.0"}))
    return f"making {Path(name).stem}", "not of the checkpoint that it lies beside"


def other_parents_read(chain: Chain) -> tuple[str, str]:
    own = making(chain, GRPO).dagster
    assert own is not None
    changed = own.model_copy(update={"parents": {"training_dataset/00": 3}})
    name = attach_making(chain.store, making(chain, GRPO, dagster=changed))
    return f"making {Path(name).stem}", "not of the checkpoint that it lies beside"


UNTRUE: list[Callable[[Chain], tuple[str, str]]] = [
    another_base, another_author, an_author_left_out, another_dataset, another_parent, other_figures, another_reward,
    another_judge, another_rewards_version, a_judge_without_prompts, a_passport_that_is_none, fewer_steps, a_strange_row,
    other_packages, other_parents_read,
]  # fmt: skip
"""Papers whose digests are all right and that are not true: what is found, and words of what it means."""


@pytest.mark.parametrize("lie", UNTRUE, ids=lambda lie: lie.__name__)
def test_papers_that_are_unchanged_and_not_true_are_found(
    chain: Chain, lie: Callable[[Chain], tuple[str, str]]
) -> None:
    what, means = lie(chain)
    (link,) = chain.verify().of("BROKEN")
    assert (link.about, link.what) == (chain.label(GRPO), what)
    assert means in link.means


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        (reward({"choice": 1.0}, constant="rewards/7"), "its code was rewards/7, here it is rewards/"),
        (reward({"choice": 1.0}, "judge/1", "0" * 64), "its judge's prompts were 000000000000"),
    ],
)
def test_a_reward_of_other_code_is_a_gap(chain: Chain, stated: dict[str, Any], found: str) -> None:
    with_passport(chain, reward=stated)
    (gap,) = chain.verify().of("gap")
    assert gap.what == "reward is the preset's" and gap.found.startswith(found) and "its own commit" in gap.means


def test_a_base_model_that_was_trained_here_is_a_gap(chain: Chain) -> None:
    chain.versions["base_model"] = checkpoint(chain, "base_model", {"source": {"stage": GRPO}})
    trained(chain)
    for name in ("base_model", "sft_checkpoint", GRPO):
        attach_making(chain.store, making(chain, name))
    (gap,) = chain.verify().of("gap")
    assert gap.about == chain.label("base_model") and gap.found == f"it was copied from a {GRPO} of this project"


def test_rows_that_no_shard_wrote(chain: Chain) -> None:
    with chain.store.staging() as directory:
        shutil.copytree(chain.directory("training_dataset"), directory / "own", ignore=lambda *_: [MANIFEST])
        rows = list(stream_parquet(directory / "own" / HISTORIES, History))
        rows[0] = rows[0].model_copy(update={"person_id": "t9999"})
        write_parquet(directory / "own" / HISTORIES, History, rows)
        parents = chain.store.manifest("training_dataset", chain.versions["training_dataset"]).parents
        producer = {"stage": "training_dataset", "code_version": "gather/3"}
        made = chain.store.put_directory("training_dataset", directory / "own", parents=parents, producer=producer)
    chain.versions["training_dataset"] = made.version
    ids = [row.question_id for row in questions(chain)[:1]]
    for name in ("sft_checkpoint", GRPO):
        chain.versions[name] = checkpoint(chain, name, {}, [ids])
        attach_making(chain.store, making(chain, name))
    (link,) = chain.verify().of("BROKEN")
    assert (link.about, link.found) == (chain.label("training_dataset"), "t9999 is in no shard")


def test_a_benchmark_with_the_same_people_is_a_note(chain: Chain) -> None:
    training = chain.directory("training_dataset")
    with chain.store.staging() as directory:
        shutil.copytree(training, directory / "own", ignore=lambda *_: [MANIFEST])
        made = chain.store.put_directory("benchmark", directory / "own", parents={}, producer={})
    found = chain.verify()
    (note,) = [link for link in found.of("note") if "benchmark" in link.what]
    assert made.version[:12] in note.what and note.found.startswith("12 people are in both")
    assert "no evidence of what it does for new people" in note.means and found.exit_code == 0
