"""What a change makes stale: a table of pairs, change -> the assets whose own code version it changes, and no other's.

What is below those in the graph becomes stale with them; that is shown on a pipeline that was really materialized, by the
rule of `make demo` (`assets/freshness.py`) and by Dagster's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleCauseCategory, StaleStatus
from dagster._core.loader import LoadingContextForTest

from assets.freshness import stale_assets
from personamem_pipeline.lineage import GRAPH, ancestors
from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import PROJECT
from tests.assets.edits import code_versions, edited, with_values
from tests.pipeline import Pipeline, small_preset

DEMO = load_preset("demo").model_dump(mode="json")
SEEDS, PERSONAS, CONVERSATIONS, HISTORIES, QUESTIONS = (
    "persona_seeds", "personas", "conversations", "histories", "questions",
)  # fmt: skip
GATHERED = ("training_dataset", "benchmark")
BASE, SFT, GRPO, REPORT = "base_model", "sft_checkpoint", "grpo_checkpoint", "benchmark_report"
WORK = "personamem_pipeline"
MEMORY, JUDGE, RUBRICS = (
    f"{WORK}/memory/prompts.py",
    f"{WORK}/questions/judge.py",
    f"{WORK}/evaluation/judging/prompts.py",
)
SESSIONS, TEACHER = f"{WORK}/conversations/instructions.py", f"{WORK}/training/teacher.py"
ASKING = f"{WORK}/llm/prompts.py"
ASKED = (PERSONAS, CONVERSATIONS, QUESTIONS, SFT, GRPO, REPORT)
FULL = {"memory.prompts": "full"}
TAUGHT = {"sft.targets": "teacher"}


@dataclass(frozen=True)
class Change:
    """One change: of a text in a file, of figures of the preset, or of settings."""

    what: str
    stale: tuple[str, ...]
    file: str = ""
    text: str = ""
    """Stands once in `file`."""
    other: str = ""
    """What takes its place; empty: the same with a word before it."""
    preset: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the preset has before and after the change."""

    def made(self) -> AbstractContextManager[None]:
        """The file as it is after the change."""
        return edited(self.file, self.text, self.other or f"Please. {self.text}")


def text(what: str, file: str, words: str, *stale: str, given: Mapping[str, Any] | None = None) -> Change:
    return Change(what, stale, file=file, text=words, given=given or {})


def figure(name: str, value: Any, *stale: str, given: Mapping[str, Any] | None = None) -> Change:
    return Change(f"{name} = {value}", stale, preset={name: value}, given=given or {})


def setting(what: str, settings: Mapping[str, Any], *stale: str, given: Mapping[str, Any] | None = None) -> Change:
    return Change(what, stale, settings=settings, given=given or {})


CHANGES = [
    # Prompts of the data: what authors, reviewers and readers are told.
    text("persona prompt", f"{WORK}/personas/write.py", "You write one fictional person", PERSONAS),
    text("review prompt", f"{WORK}/personas/review.py", "You check the preferences", PERSONAS),
    text("conversation prompt: common", SESSIONS, "You write one conversation", CONVERSATIONS),
    text("conversation prompt: an event", SESSIONS, "Two exchanges. First the user", CONVERSATIONS),
    text("conversation prompt: a way", SESSIONS, "The user asks for advice on a worry", CONVERSATIONS),
    text("conversation prompt: lengths", SESSIONS, "A message is a line or two.", CONVERSATIONS),
    text("question prompt", f"{WORK}/questions/write.py", "You write one test question", QUESTIONS),
    text("reader prompt: choose", f"{WORK}/questions/trials.py", "You pick answers for a chatbot", QUESTIONS),
    text("reader prompt: state", f"{WORK}/questions/trials.py", "You read one text that a user wrote", QUESTIONS),
    # What stands around every request for a record.
    text("how JSON is asked for", ASKING, "Reply with JSON only", PERSONAS, CONVERSATIONS, QUESTIONS, GRPO, REPORT),
    text("how a repair is asked for", ASKING, "Your reply cannot", PERSONAS, CONVERSATIONS, QUESTIONS, GRPO, REPORT),
    text("the same, where a teacher is asked", ASKING, "Reply with JSON only", *ASKED, given=TAUGHT),
    # Prompts of the memory: the style that the preset names, and what both styles share.
    text("memory prompt, compact: write", MEMORY, "What does the user like?\\n{chunk}", SFT, GRPO, REPORT),
    text("memory prompt, compact: write, memory first", MEMORY, "What does the user like?\\nOld list", SFT, GRPO, REPORT),
    text("memory prompt, compact: answer", MEMORY, "List:\\n{memory}\\nWhich fits?", SFT, GRPO, REPORT),
    text("memory prompt, compact: chat", MEMORY, "Chat:\\n{chat}\\nWhich fits?", SFT, GRPO, REPORT),
    text("memory prompt, full: write", MEMORY, "Below is the next part", SFT, GRPO, REPORT, given=FULL),
    text("memory prompt, full: answer", MEMORY, "know only this memory", SFT, GRPO, REPORT, given=FULL),
    text("memory prompt, full, where compact is used", MEMORY, "Below is the next part"),
    text("memory prompt, compact, where full is used", MEMORY, "List:\\n{memory}\\nWhich fits?", given=FULL),
    text("memory prompt: how to choose", MEMORY, "Choose the reply that serves", SFT, GRPO, REPORT),
    Change("memory prompt: lines", (SFT, GRPO, REPORT), file=MEMORY, text="MAX_LINES = 40", other="MAX_LINES = 50"),
    text("memory prompt: the task of writing", MEMORY, "Rewrite the memory so that", SFT, GRPO, REPORT),
    # Prompts of teacher and judges.
    text("teacher prompt", TEACHER, "You keep a chatbot's memory", SFT, given=TAUGHT),
    text("teacher prompt, where nobody teaches", TEACHER, "You keep a chatbot's memory"),
    text("reward judge's prompt", JUDGE, "You judge a chatbot's answer", GRPO),
    text("stance judge's prompt", JUDGE, "You say what a chatbot's answer", GRPO),
    text("report judge's prompt: serves", RUBRICS, "You judge how well an assistant's answer serves", REPORT),
    text("report judge's prompt: evidence", RUBRICS, "You put yourself in the place of", REPORT),
    text("report judge's prompt: strict", RUBRICS, "You decide whether an assistant's answer", REPORT),
    text("report judge's prompt: rewording", RUBRICS, "You reword an assistant's answer", REPORT),
    # Figures of the preset, section by section.
    figure("data.seed", 1, SEEDS, PERSONAS, CONVERSATIONS, QUESTIONS),
    figure("data.shards", 3, SEEDS, *GATHERED),
    figure("data.seeds.training_persons", 400, SEEDS),
    figure("data.personas.self_preferences", 5, PERSONAS),
    figure("data.conversations.small_talk", 3, CONVERSATIONS),
    figure("data.histories.tokens", 500, HISTORIES),
    figure("data.questions.max_blind_accuracy", 0.6, QUESTIONS, *GATHERED),
    figure("memory.chunk_tokens", 96, SFT, GRPO, REPORT),
    figure("memory.order", "memory_first", SFT, GRPO, REPORT),
    figure("memory.prompts", "full", SFT, GRPO, REPORT),
    figure("base.path", "models", BASE),
    figure("sft.steps", 46, SFT),
    figure("sft.seed", 1, SFT),
    figure("sft.targets", "teacher", SFT),
    figure("grpo.learning_rate", 1e-4, GRPO),
    figure("grpo.rollouts", 4, GRPO),
    figure("grpo.rewards.format", 0.1, GRPO),
    figure("grpo.rewards.retention", 0.5, GRPO),
    figure("grpo.rewards.open_ended", 0.5, GRPO),
    figure("evaluation.option_orders", 3, REPORT),
    figure("evaluation.regression.drop", 0.02, REPORT),
    figure("evaluation.judges", [{"prompt": "strict"}], REPORT),
    # Models and machines.
    setting("author model", {"llm_model": "simulator/2"}, PERSONAS, CONVERSATIONS, QUESTIONS, GRPO, REPORT),
    setting(
        "author model, where it teaches", {"llm_model": "simulator/2"},
        *ASKED, given=TAUGHT,
    ),
    setting("second reader and judge", {"reader_model": "other/1"}, QUESTIONS, REPORT),
    setting("how the endpoint is asked", {"llm_concurrency": 3, "llm_cache": False, "llm_price_input": 1.0}),
    setting("where things run", {"compute": "kubernetes", "image": "sha256:0", "store_url": "/elsewhere"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Code versions under each of the presets that a change starts from."""
    scratch = tmp_path_factory.mktemp("before")
    return {str(given): code_versions(with_values(DEMO, given), scratch) for given in ({}, FULL, TAUGHT)}


@pytest.mark.parametrize("change", CHANGES, ids=[change.what for change in CHANGES])
def test_a_change_marks_exactly_its_own_assets(
    change: Change, before: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    preset = with_values(with_values(DEMO, change.given), change.preset)
    with change.made() if change.file else nullcontext():
        after = code_versions(preset, tmp_path, **change.settings)
    start = before[str(change.given)]
    assert {name for name in GRAPH if after[name] != start[name]} == set(change.stale)


def test_other_weights_at_the_same_path_are_another_base_model(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / DEMO["base"]["path"], tmp_path / "model")
    preset = with_values(DEMO, {"base.path": str(tmp_path / "model")})
    first = code_versions(preset, tmp_path)
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    after = code_versions(preset, tmp_path)
    assert {name for name in GRAPH if after[name] != first[name]} == {BASE}


def test_every_asset_is_somewhere_in_the_table() -> None:
    assert {name for change in CHANGES for name in change.stale} == set(GRAPH)


def below(names: tuple[str, ...]) -> list[str]:
    return [name for name in GRAPH if name in names or set(names) & set(ancestors(name))]


REALLY = {
    "persona prompt": below((PERSONAS,)),
    "question prompt": [QUESTIONS, *GATHERED, SFT, GRPO, REPORT],
    "memory prompt, compact: write": [SFT, GRPO, REPORT],
    "memory prompt, full, where compact is used": [],
    "reward judge's prompt": [GRPO, REPORT],
    "report judge's prompt: serves": [REPORT],
    "data.histories.tokens = 500": [HISTORIES, QUESTIONS, *GATHERED, SFT, GRPO, REPORT],
    "base.path = models": [BASE, SFT, GRPO, REPORT],
    "grpo.rewards.format = 0.1": [GRPO, REPORT],
    "evaluation.option_orders = 3": [REPORT],
    "how the endpoint is asked": [],
}
"""Change -> everything that is stale after it."""


@pytest.fixture(scope="module")
def fresh(trained_home: Path) -> Any:
    """An installation with everything materialized, to be looked at only."""
    with dg.DagsterInstance.local_temp(str(trained_home / "dagster")) as instance:
        yield Pipeline(trained_home, instance, small_preset())


@pytest.mark.parametrize("what", REALLY)
def test_what_is_below_becomes_stale_with_it(fresh: Pipeline, what: str, tmp_path: Path) -> None:
    change = next(change for change in CHANGES if change.what == what)
    preset = with_values(fresh.preset.model_dump(mode="json"), change.preset)
    with change.made() if change.file else nullcontext():
        versions = code_versions(preset, tmp_path, **change.settings)
    stale = stale_assets(fresh.instance, fresh.store, versions, fresh.shards)
    assert [item.name for item in stale] == REALLY[what]
    own = {item.name for item in stale if item.reason == "its code or configuration changed"}
    assert own == set(change.stale) & set(REALLY[what])


def test_dagster_itself_sees_the_same(fresh: Pipeline) -> None:
    """Its own rule knows code versions and data versions; it shows them beside the assets in its pages."""
    assert fresh.stale() == []
    assert dagster_causes(fresh) == {name: set() for name in GRAPH}
    rewards = fresh.preset.grpo.rewards.model_copy(update={"format": 0.1})
    changed = fresh.preset.model_copy(update={"grpo": fresh.preset.grpo.model_copy(update={"rewards": rewards})})
    found = dagster_causes(Pipeline(fresh.home, fresh.instance, changed))
    assert {name: causes for name, causes in found.items() if causes} == {GRPO: {StaleCauseCategory.CODE}}


def dagster_causes(pipeline: Pipeline) -> dict[str, set[StaleCauseCategory]]:
    """Asset -> why Dagster's own rule calls it stale, root causes in the asset itself only."""
    resolver = CachingStaleStatusResolver(
        pipeline.instance, pipeline.definitions().resolve_asset_graph(), LoadingContextForTest(pipeline.instance)
    )
    found: dict[str, set[StaleCauseCategory]] = {name: set() for name in GRAPH}
    for name, node in GRAPH.items():
        for shard in pipeline.shards if node.sharded else (None,):
            key = dg.AssetKey(name)
            if resolver.get_status(key, shard) != StaleStatus.FRESH:
                found[name] |= {
                    cause.category for cause in resolver.get_stale_causes(key, shard) if cause.key.asset_key == key
                }
    return found
