"""From the preset's list to systems: which can be run, what they are called, and what their journals are found by."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.models import Model, Models
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.systems import keys
from personamem_pipeline.evaluation.systems.build import Needs, memory_config, named, selected, unfamiliar
from personamem_pipeline.evaluation.systems.keys import key
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import EvaluationConfig, MemoryConfig, SystemConfig
from tests.evaluation.conftest import person, source_of

CONFIG = EvaluationConfig()
NOTHING_WATCHED = {"regression": {"systems": []}}


class Engine(ScriptedGenerator):
    """Remembers whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engines() -> dict[str, list[Engine]]:
    return {"base": [], "grpo": []}


@pytest.fixture
def models(engines: dict[str, list[Engine]]) -> Models:
    def opening(name: str) -> Callable[[], Generator]:
        def open() -> Generator:
            engines[name].append(Engine(lambda prompt: "none"))
            return engines[name][-1]

        return open

    return Models({name: Model(f"the {name}", f"{name}-1", opening(name)) for name in engines}, CONFIG)


@pytest.fixture
def needs(models: Models, memory: MemoryConfig, source: Source, tmp_path: Path) -> Needs:
    return Needs(models, CONFIG, memory, source, tmp_path)


def test_what_a_model_brings_is_not_searched_for_garbage_while_it_is_open(models: Models) -> None:
    gc.unfreeze()  # whatever another test left
    models.generator("base")
    assert gc.get_freeze_count() > 1000
    models.close()
    assert gc.get_freeze_count() == 0


def test_one_model_at_a_time_is_open(models: Models, engines: dict[str, list[Engine]]) -> None:
    first = models.generator("base")
    assert models.generator("base") is first
    models.generator("grpo")
    assert engines["base"][0].closed and not engines["grpo"][0].closed
    models.generator("base")
    assert len(engines["base"]) == 2 and engines["grpo"][0].closed
    models.close()
    assert engines["base"][1].closed


def test_an_unknown_model_is_named(models: Models) -> None:
    with pytest.raises(UserError, match=r"no model is called 'gpt'(.|\n)*base or grpo"):
        models.generator("gpt")


def test_systems_that_cannot_be_run_are_told(source: Source, memory: MemoryConfig) -> None:
    everything, remarks = selected(CONFIG, memory, source)
    assert list(everything) == list(CONFIG.systems) and remarks == []
    alone = replace(source_of([person(0)]), profiles={})
    chosen, remarks = selected(CONFIG, memory, alone)
    assert set(CONFIG.systems) - set(chosen) == {"persona_only", "swapped_history"}
    assert [remark.split(":")[0] for remark in remarks] == [
        "persona_only was left out", "swapped_history was left out",
    ]  # fmt: skip

    def without(evidence: int) -> Source:
        questions = [
            q.model_copy(update={"evidence": ()}) if i < evidence else q for i, q in enumerate(source.questions)
        ]
        return replace(source, questions=questions)

    chosen, remarks = selected(CONFIG, memory, without(evidence=3))
    assert "oracle" in chosen and "located for 3 of 32 questions" in remarks[0]
    chosen, remarks = selected(CONFIG, memory, without(evidence=32))
    assert "oracle" not in chosen and remarks == ["oracle was left out: no evidence was located for any question"]
    long, _ = selected(CONFIG, memory.model_copy(update={"protocol": "full_context"}), source)
    assert set(CONFIG.systems) - set(long) == {"full_context", "query_aware", "query_blind"}


@pytest.mark.parametrize(
    ("system", "label", "role"),
    [
        (SystemConfig(reading="memory"), "the grpo", "model"),
        (SystemConfig(reading="memory", chunk_tokens=9), "the grpo, chunks of 9", "baseline"),
        (SystemConfig(reading="memory", memory_tokens=28), "the grpo, memory of 28", "baseline"),
        (SystemConfig(reading="oracle"), "only the evidence turns (oracle)", "control"),
        (SystemConfig(reading="bm25", model="base"), "BM25 retrieval, the base", "baseline"),
        (SystemConfig(reading="predictions", path="their/answers.jsonl"), "answers", "external"),
        (SystemConfig(reading="no_history", label="nothing"), "nothing", "control"),
    ],
)  # fmt: skip
def test_what_reports_call_a_system(system: SystemConfig, label: str, role: str, models: Models) -> None:
    found = named("x", system, models)
    assert (found.label, found.role) == (label, role)


def test_own_caps_replace_the_presets(memory: MemoryConfig) -> None:
    assert memory_config(SystemConfig(reading="memory", memory_tokens=28), memory).memory_tokens == 28
    assert memory_config(SystemConfig(reading="memory"), memory) == memory
    assert memory_config(SystemConfig(reading="bm25"), memory).protocol == "full_context"


def test_a_journal_is_found_by_all_that_decides_replies_and_by_nothing_else(
    needs: Needs, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = SystemConfig(reading="memory", model="grpo")
    own = key(system, needs, "benchmark-1")
    same = [
        (system.model_copy(update={"label": "another name"}), needs),
        (system, replace(needs, evaluation=CONFIG.model_copy(update={"bootstrap": 300, "judges": CONFIG.judges[:1]}))),
    ]
    assert all(key(one, other, "benchmark-1") == own for one, other in same)
    models = Models({**needs.models.models, "grpo": Model("the grpo", "grpo-2", lambda: None)}, CONFIG)  # type: ignore
    different = [
        (system.model_copy(update={"open": True}), needs),
        (system.model_copy(update={"memory_tokens": 28}), needs),
        (system.model_copy(update={"reading": "oracle"}), needs),
        (system, replace(needs, models=models)),
        (system, replace(needs, source=replace(needs.source, orders=3))),
        (system, replace(needs, source=replace(needs.source, people_per_batch=4))),
        (system, replace(needs, evaluation=CONFIG.model_copy(update={"temperature": 0.3}))),
    ]
    assert all(key(one, other, "benchmark-1") != own for one, other in different)
    assert key(system, needs, "benchmark-2") != own
    monkeypatch.setattr(keys, "replying_code", lambda: "other code")
    assert key(system, needs, "benchmark-1") != own


def test_the_released_prompt_is_part_of_what_decides(needs: Needs, monkeypatch: pytest.MonkeyPatch) -> None:
    system = SystemConfig(reading="query_aware")
    own = key(system, needs, "b")
    monkeypatch.setattr(keys.query_aware, "prompt_texts", lambda style: "another prompt")
    assert key(system, needs, "b") != own


def test_a_file_of_answers_with_open_ones_is_another_journal(needs: Needs, tmp_path: Path) -> None:
    (tmp_path / "theirs.jsonl").write_text("{}")
    system = SystemConfig(reading="predictions", path=str(tmp_path / "theirs.jsonl"))
    assert key(system, needs, "b") != key(system.model_copy(update={"open": True}), needs, "b")


def test_prompts_that_no_training_showed_are_told(memory: MemoryConfig) -> None:
    systems = {"rag": SystemConfig(reading="bm25"), "plain": SystemConfig(reading="bm25", model="base")}
    (remark,) = unfamiliar(systems, memory)
    assert remark.startswith("rag: these prompts are new")
    assert unfamiliar({"plain": systems["plain"]}, memory) == []
    assert unfamiliar({"plain": systems["plain"]}, memory, ("base",))[0].startswith("plain: ")
    assert unfamiliar(systems, memory.model_copy(update={"protocol": "full_context"})) == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"systems": {"x": {"reading": "swapped_history", "model": "base"}}, **NOTHING_WATCHED}, "no system writes"),
        ({"systems": {"x": {"reading": "memory"}}}, "regression.systems names grpo"),
        ({"systems": {"x": {"reading": "predictions"}}, **NOTHING_WATCHED}, "which needs it"),
        ({"systems": {"x": {"reading": "memory", "path": "a.jsonl"}}, **NOTHING_WATCHED}, "belongs to the reading"),
        ({"retrieval": {"window": 2, "overlap": 2}}, "overlap must be smaller"),
        ({"judges": []}, "at least 1"),
    ],
)  # fmt: skip
def test_a_list_of_systems_that_makes_no_sense_is_refused(values: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EvaluationConfig.model_validate(values)
