"""The whole stage on a scripted model: store in, report out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.evaluation import pool
from personamem_pipeline.evaluation.__main__ import evaluate
from personamem_pipeline.llm.simulator.app import MODELS, TASKS
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.stage import Interrupted, Progress, StageJob, StageResult
from personamem_pipeline.store import Store
from tests.evaluation.conftest import write_passport

Load = Callable[[Path], ScriptedGenerator]


def report_of(job: StageJob, result: StageResult) -> Path:
    return Store(job.store).verified("reports", result.version)


def elsewhere(job: StageJob, tmp_path: Path, name: str = "other") -> StageJob:
    return job.model_copy(update={"scratch": str(tmp_path / name)})


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
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_shows_the_order_of_skill(job: StageJob, load_skilled: Load) -> None:
    result = evaluate(job, Progress(), load_skilled)
    directory = report_of(job, result)
    results = json.loads((directory / "results.json").read_text())
    accuracy = {system["name"]: system["accuracy"] for system in results["systems"]}
    assert accuracy["base"] < accuracy["sft"] < accuracy["grpo"]
    assert accuracy["no_history"] == 0.0
    assert {s["n"] for s in results["systems"]} == {8 * 4 * 2}
    assert (results["tests"][0]["a"], results["tests"][0]["b"]) == ("grpo", "sft")
    assert result.metrics["accuracy_grpo"] == accuracy["grpo"]
    rows = pq.read_table(directory / "answers.parquet").to_pylist()
    assert sum(row["correct"] for row in rows if row["system"] == "grpo") / 64 == accuracy["grpo"]
    assert set(results["curves"]) == {"sft loss", "grpo reward"}
    assert {row["name"] for row in results["provenance"]["lineage"]} == {*job.inputs, "training_dataset"}
    assert len(list((directory / "plots").iterdir())) == 8


def test_page_stands_alone(job: StageJob, load_skilled: Load) -> None:
    text = (report_of(job, evaluate(job, Progress(), load_skilled)) / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert page.open == []
    assert not re.findall(r"url\((?!#)|@import", text)
    assert len(page.ids) == len(set(page.ids))
    assert text.count("<svg") == 4


@pytest.mark.parametrize(
    ("temperature", "said"), [(0.0, "greedy decoding."), (0.7, "sampled at temperature 0.7, seeded.")]
)
def test_the_page_says_how_answers_were_decoded(
    temperature: float, said: str, job: StageJob, load_skilled: Load
) -> None:
    evaluation = job.preset.evaluation.model_copy(update={"temperature": temperature})
    job = job.model_copy(update={"preset": job.preset.model_copy(update={"evaluation": evaluation})})
    assert said in (report_of(job, evaluate(job, Progress(), load_skilled)) / "report.html").read_text()


def test_what_a_model_writes_is_text_in_the_page(job: StageJob) -> None:
    def hostile(directory: Path) -> ScriptedGenerator:
        return ScriptedGenerator(lambda prompt: "- x: <script>alert(1)</script>")

    text = (report_of(job, evaluate(job, Progress(), hostile)) / "report.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_same_answers_same_digest(job: StageJob, load_skilled: Load, tmp_path: Path) -> None:
    first = evaluate(job, Progress(), load_skilled)
    second = evaluate(elsewhere(job, tmp_path), Progress(), load_skilled)
    assert first.version == second.version


def test_a_stopped_run_goes_on_where_it_was(job: StageJob, load_skilled: Load, tmp_path: Path) -> None:
    unbroken = evaluate(elsewhere(job, tmp_path), Progress(), load_skilled)
    progress, loaded = Progress(), []

    def stop_at_sft(directory: Path) -> ScriptedGenerator:
        loaded.append((directory / "skill").read_text())
        if len(loaded) == 2:
            progress.stop()
        return load_skilled(directory)

    with pytest.raises(Interrupted, match="2 systems"):
        evaluate(job, progress, stop_at_sft)
    assert loaded == ["0.1", "0.5"]
    resumed: list[str] = []

    def watched(directory: Path) -> ScriptedGenerator:
        resumed.append((directory / "skill").read_text())
        return load_skilled(directory)

    assert evaluate(job, Progress(), watched).version == unbroken.version
    assert resumed == ["0.5", "0.9"]  # SFT only for its open answers, base not at all
    assert evaluate(job, Progress(), refuse_to_generate).version == unbroken.version


def test_another_judge_judges_again(job: StageJob, load_skilled: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same scratch directory: what was answered is kept, the old judge's verdicts are not taken for the new's."""
    monkeypatch.setitem(MODELS, "simulator/other", TASKS)
    for judge in ("simulator/1", "simulator/other"):
        monkeypatch.setenv("PERSONAMEM_LLM_MODEL", judge)
        directory = report_of(job, evaluate(job, Progress(), load_skilled))
        assert json.loads((directory / "results.json").read_text())["judges"] == [judge]


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


def another_seed(job: StageJob, tmp_path: Path, seed: int, skill: float, **section: object) -> StageJob:
    """The same evaluation of a checkpoint trained with another seed; the evaluating job knows nothing of that seed."""
    directory = tmp_path / f"seed-{seed}"
    directory.mkdir()
    (directory / "skill").write_text(str(skill))
    write_passport(directory, "grpo_checkpoint", seed, **section)
    store = Store(job.store)
    parents = store.manifest("checkpoints", job.inputs["grpo_checkpoint"]).parents
    grpo = store.put_directory("checkpoints", directory, parents=parents, producer={"seed": str(seed)}).version
    changes = {"inputs": {**job.inputs, "grpo_checkpoint": grpo}, "scratch": f"{directory}-scratch"}
    return job.model_copy(update=changes)


def test_seeds_are_pooled_by_command_and_in_the_report(
    job: StageJob, load_skilled: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [job, another_seed(job, tmp_path, 1, 0.8), another_seed(job, tmp_path, 2, 0.95)]
    made = [evaluate(one, Progress(), load_skilled) for one in jobs]
    paths = [result.paths["results"] for result in made]
    assert pool.main([*paths, "--out", str(tmp_path / "pooled")]) == 0
    summary = json.loads((tmp_path / "pooled" / "pool.json").read_text())
    assert [run["seed"] for run in summary["runs"]] == [0, 1, 2]
    assert summary["test"]["clusters"] == 8
    assert summary["test"]["n"] == 3 * 64
    assert summary["test"]["difference"] == pytest.approx(sum(run["difference"] for run in summary["runs"]) / 3)
    assert "pooled" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "pooled" / "pool.html").read_text()

    together = jobs[2].model_copy(
        update={"inputs": {**jobs[2].inputs, "seeds": f"{made[0].version},{made[1].version}"}}
    )
    text = (report_of(job, evaluate(together, Progress(), load_skilled)) / "report.html").read_text()
    assert "Several training seeds" in text


def test_a_seed_cannot_count_twice(
    job: StageJob, load_skilled: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = evaluate(job, Progress(), load_skilled).paths["results"]
    assert pool.main([path, path, "--out", str(tmp_path / "pooled")]) == 2
    assert "given twice" in capsys.readouterr().err
    assert not (tmp_path / "pooled").exists()


@pytest.mark.parametrize(
    ("seed", "section", "said"), [(0, {}, "given twice"), (1, {"steps": 9}, "the same training configuration")]
)
def test_only_trainings_that_differ_in_their_seed_are_pooled(
    seed: int, section: dict[str, int], said: str, job: StageJob, load_skilled: Load, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = another_seed(job, tmp_path, seed, 0.8, **section)
    paths = [evaluate(one, Progress(), load_skilled).paths["results"] for one in (job, other)]
    assert pool.main([*paths, "--out", str(tmp_path / "pooled")]) == 2
    assert said in capsys.readouterr().err


def test_pool_refuses_a_file_that_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text('{"format": 1')
    assert pool.main([str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 2
    assert "x.json" in capsys.readouterr().err
