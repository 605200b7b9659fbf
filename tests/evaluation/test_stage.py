"""The whole stage on a scripted model: store in, report out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.evaluation.__main__ import evaluate
from personamem_pipeline.evaluation.asking import ANSWERS
from personamem_pipeline.evaluation.regression import regressions
from personamem_pipeline.llm.simulator.app import MODELS, TASKS
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import RegressionConfig, SystemConfig
from personamem_pipeline.progress import Interrupted, Progress
from personamem_pipeline.questions.gather import read_questions
from personamem_pipeline.stage_job import StageJob
from personamem_pipeline.store import Store
from tests.evaluation.conftest import another_seed, changed, report_of, results_of, without_probes, write_passport

Load = Callable[[Path], ScriptedGenerator]


def forgotten(job: StageJob) -> StageJob:
    """The same job where nothing was answered yet."""
    shutil.rmtree(Path(job.store) / "scratch" / ANSWERS)
    return job


def refuse_to_generate(directory: Path) -> ScriptedGenerator:
    raise AssertionError(f"{directory} was loaded although its answers are kept")


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.fetched += [
            values[k] or "" for k in ("src", "href", "xlink:href") if not (values.get(k) or "#").startswith("#")
        ]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag not in ("meta", "br", "link", "img", "input", "hr", "wbr", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_shows_the_order_of_skill(job: StageJob, load_skilled: Load) -> None:
    result = evaluate(job, Progress(), load_skilled)
    directory = report_of(job, result)
    results = json.loads((directory / "results.json").read_text())
    accuracy = {system["name"]: system["accuracy"] for system in results["systems"]}
    assert accuracy["base"] < accuracy["sft"] < accuracy["grpo"]
    assert accuracy["no_history"] == 0.25, "right only where nothing may be used"
    assert {s["n"] for s in results["systems"]} == {8 * 4 * 2}
    assert (results["tests"][0]["a"], results["tests"][0]["b"]) == ("grpo", "sft")
    assert result.metrics["accuracy_grpo"] == accuracy["grpo"]
    rows = pq.read_table(directory / "answers.parquet").to_pylist()
    own = [row["correct"] for row in rows if row["system"] == "grpo" and row["moment"] == "end"]
    assert sum(own) / 64 == accuracy["grpo"]
    assert set(results["curves"]) == {"sft loss", "grpo reward"}
    assert {row["name"] for row in results["provenance"]["lineage"]} == {*job.inputs, "training_dataset"}
    assert {path.suffix for path in (directory / "plots").iterdir()} == {".svg", ".png"}


def test_how_long_it_took_lies_beside_the_report(job: StageJob, load_skilled: Load) -> None:
    first, again = (evaluate(job, Progress(), load_skilled) for _ in range(2))
    attached = Store(job.store).attachments("reports", first.version)
    times = {row["system"]: row for row in json.loads(attached["timings.json"])}
    assert set(times) == set(job.preset.evaluation.systems), "guessers wait for nobody"
    assert times["grpo"]["write"]["count"] > 0 and times["no_history"]["write"] is None
    assert Path(first.paths["timings"]).read_bytes() == attached["timings.html"]
    assert first.notes["seconds"].count("| answer |") == len(times)
    assert first.metrics["seconds_answer_median_grpo"] == times["grpo"]["answer"]["median"]
    assert again.notes["seconds"] == first.notes["seconds"], "kept with the answers"


def test_page_stands_alone(job: StageJob, load_skilled: Load) -> None:
    text = (report_of(job, evaluate(job, Progress(), load_skilled)) / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert page.open == []
    assert not re.findall(r"url\((?!#)|@import", text)
    assert len(page.ids) == len(set(page.ids))
    assert text.count("<svg") > 4


@pytest.mark.parametrize(("temperature", "said"), [(0.0, "greedy"), (0.7, "0.7")])
def test_the_page_says_how_answers_were_decoded(
    temperature: float, said: str, job: StageJob, load_skilled: Load
) -> None:
    results = results_of(job, evaluate(changed(job, temperature=temperature), Progress(), load_skilled))
    assert results["provenance"]["temperature"] == temperature
    page = (report_of(job, evaluate(changed(job, temperature=temperature), Progress(), load_skilled))) / "report.html"
    assert said in page.read_text()


def test_what_a_model_writes_is_text_in_the_page(job: StageJob) -> None:
    def hostile(directory: Path) -> ScriptedGenerator:
        return ScriptedGenerator(lambda prompt: "- x: <script>alert(1)</script>")

    text = (report_of(job, evaluate(job, Progress(), hostile)) / "report.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_same_answers_same_digest(job: StageJob, load_skilled: Load) -> None:
    first = evaluate(job, Progress(), load_skilled)
    assert evaluate(forgotten(job), Progress(), load_skilled).version == first.version


def test_a_stopped_run_goes_on_where_it_was(job: StageJob, load_skilled: Load) -> None:
    unbroken = evaluate(job, Progress(), load_skilled)
    progress, loaded = Progress(), []

    def stop_at_sft(directory: Path) -> ScriptedGenerator:
        loaded.append((directory / "skill").read_text())
        if len(loaded) == 2:
            progress.stop()
        return load_skilled(directory)

    with pytest.raises(Interrupted, match="sft has answered about 0 of 8 people"):
        evaluate(forgotten(job), progress, stop_at_sft)
    assert loaded == ["0.1", "0.5"]
    resumed: list[str] = []

    def watched(directory: Path) -> ScriptedGenerator:
        resumed.append((directory / "skill").read_text())
        return load_skilled(directory)

    assert evaluate(without_probes(job), Progress(), watched).kind == "reports"
    assert resumed == ["0.5", "0.9"], "base is not loaded again"
    assert evaluate(without_probes(job), Progress(), refuse_to_generate).kind == "reports"
    assert evaluate(job, Progress(), load_skilled).version == unbroken.version


def test_a_killed_run_repeats_one_batch(job: StageJob, load_skilled: Load) -> None:
    unbroken = evaluate(job, Progress(), load_skilled)
    (grpo,) = (Path(job.store) / "scratch" / ANSWERS).glob("grpo-*.jsonl")
    whole = grpo.read_bytes()
    grpo.write_bytes(whole[: len(whole) - 40])  # the last of three batches was being written
    asked: list[ScriptedGenerator] = []

    def watched(directory: Path) -> ScriptedGenerator:
        asked.append(load_skilled(directory))
        return asked[-1]

    assert evaluate(without_probes(job), Progress(), watched).kind == "reports"
    assert len(asked) == 1 and {re.search(r"Which \w+ today", p) is not None for p in asked[0].prompts} == {True, False}
    assert grpo.read_bytes().replace(b"0.", b"").count(b"batch") == whole.count(b"batch")
    assert evaluate(job, Progress(), load_skilled).version == unbroken.version


def test_another_judge_judges_again(job: StageJob, load_skilled: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered is kept, the old judge's verdicts are not taken for the new's."""
    monkeypatch.setitem(MODELS, "simulator/other", TASKS)
    evaluate(job, Progress(), load_skilled)
    monkeypatch.setenv("PERSONAMEM_LLM_MODEL", "simulator/other")
    results = results_of(job, evaluate(without_probes(job), Progress(), refuse_to_generate))
    assert results["judging"]["judges"] == ["simulator/other/serves", "simulator/other/evidence"]


def test_the_probe_tells_causal_memories_from_others(job: StageJob, load_skilled: Load) -> None:
    probes = {row["system"]: row for row in results_of(job, evaluate(job, Progress(), load_skilled))["leak_probe"]}
    assert {name: row["equal"] for name, row in probes.items()} == {
        "base": True, "sft": True, "grpo": True, "query_aware": False, "query_blind": True,
    }  # fmt: skip
    assert {name for name, row in probes.items() if row["causal"]} == {"base", "sft", "grpo", "query_blind"}


def test_a_report_says_what_changed_since_the_one_before(job: StageJob, load_skilled: Load, tmp_path: Path) -> None:
    before = evaluate(another_seed(job, tmp_path, 1, 0.3), Progress(), load_skilled)
    now = job.model_copy(update={"inputs": {**job.inputs, "previous": before.version}})
    changes = results_of(job, evaluate(now, Progress(), load_skilled))["changes"]
    tests = {test["system"]: test for test in changes["tests"]}
    assert changes["against"] == before.version
    assert tests["grpo"]["difference"] > 0.2 and tests["sft"]["difference"] == 0
    assert changes["flipped_counts"]["grpo"]["gained"] > changes["flipped_counts"]["grpo"]["lost"]
    worse = another_seed(job, tmp_path, 2, 0.2).model_copy()
    worse = worse.model_copy(
        update={"inputs": {**worse.inputs, "previous": evaluate(job, Progress(), load_skilled).version}}
    )
    told = regressions(results_of(job, evaluate(worse, Progress(), load_skilled))["changes"], RegressionConfig())
    assert len(told) == 1 and told[0].startswith("grpo fell by")


def test_a_report_on_other_option_orders_is_not_compared(job: StageJob, load_skilled: Load) -> None:
    before = evaluate(changed(job, option_orders=3), Progress(), load_skilled)
    now = job.model_copy(update={"inputs": {**job.inputs, "previous": before.version}})
    results = results_of(job, evaluate(now, Progress(), load_skilled))
    assert results["changes"] is None
    assert any(remark.startswith("not compared with the report before: ") for remark in results["remarks"])


def test_other_peoples_answers_are_scored_beside_ours(job: StageJob, load_skilled: Load, tmp_path: Path) -> None:
    questions = read_questions(Store(job.store), "benchmark", job.inputs["benchmark"])
    rows = [
        {"question_id": q.question_id, "order": order, "hypothesis": q.correct_answer}
        for q in questions
        for order in (0, 1)
    ]
    path = tmp_path / "oracle.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    systems = {**job.preset.evaluation.systems, "theirs": SystemConfig(reading="predictions", path=str(path))}
    results = results_of(job, evaluate(changed(job, systems=systems), Progress(), load_skilled))
    theirs = next(row for row in results["systems"] if row["name"] == "theirs")
    assert (theirs["accuracy"], theirs["role"], theirs["label"]) == (1.0, "external", "oracle")


def test_a_changed_checkpoint_is_not_evaluated(job: StageJob, load_skilled: Load) -> None:
    path = Store(job.store).path("checkpoints", job.inputs["grpo_checkpoint"])
    (path / "skill").write_text("1.0")
    with pytest.raises(IntegrityError, match="sha256"):
        evaluate(job, Progress(), load_skilled)


def test_a_checkpoint_trained_on_the_benchmarks_people_is_refused(
    job: StageJob, load_skilled: Load, make_people: Callable, put_dataset: Callable, tmp_path: Path
) -> None:
    store = Store(job.store)
    leaky = put_dataset(store, "training_dataset", make_people(9, "benchmark")[7:], tmp_path / "leaky")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "skill").write_text("0.9")
    write_passport(tmp_path / "model", "grpo_checkpoint", seed=0)
    grpo = store.put_directory("checkpoints", tmp_path / "model", parents={"training_dataset": leaky}, producer={})
    bad = job.model_copy(update={"inputs": {**job.inputs, "grpo_checkpoint": grpo.version}})
    with pytest.raises(UserError, match=r"1 people of the benchmark.*b007"):
        evaluate(bad, Progress(), load_skilled)


def test_a_checkpoint_that_does_not_name_its_dataset_is_refused(
    job: StageJob, load_skilled: Load, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "skill").write_text("0.9")
    write_passport(tmp_path / "model", "grpo_checkpoint", seed=0)
    stray = Store(job.store).put_directory("checkpoints", tmp_path / "model", parents={}, producer={})
    bad = job.model_copy(update={"inputs": {**job.inputs, "grpo_checkpoint": stray.version}})
    with pytest.raises(UserError, match="does not say which training_dataset"):
        evaluate(bad, Progress(), load_skilled)


def test_missing_inputs_are_named(job: StageJob, load_skilled: Load) -> None:
    inputs = {name: version for name, version in job.inputs.items() if name != "sft_checkpoint"}
    with pytest.raises(UserError, match="sft_checkpoint"):
        evaluate(job.model_copy(update={"inputs": inputs}), Progress(), load_skilled)


@pytest.mark.parametrize(
    ("engine", "problem"),
    [("transformers", "no config.json"), ("vllm", r"vLLM is not installed(.|\n)*\[gpu\](.|\n)*docker/vllm-cpu")],
)
def test_the_preset_chooses_what_runs_the_checkpoints(
    engine: str, problem: str, job: StageJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's checkpoints are no models, and this machine has no vLLM: each engine says so in its own words."""
    monkeypatch.setattr("personamem_pipeline.memory.generators.vllm.find_spec", lambda name: None)
    evaluation = job.preset.evaluation.model_copy(update={"engine": engine})
    job = job.model_copy(update={"preset": job.preset.model_copy(update={"evaluation": evaluation})})
    with pytest.raises(UserError, match=problem):
        evaluate(job, Progress())
