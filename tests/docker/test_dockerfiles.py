"""What a Docker engine would find out, as far as it can be known without one: paths, users, and that the files suffice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from personamem_pipeline.presets import load_preset
from personamem_pipeline.settings import PROJECT
from personamem_pipeline.stage_job import StageJob
from tests.docker.files import DOCKER, DOCKERFILES, SETTINGS, copies, final, ignored, instructions, lay_out, variables

ORCHESTRATOR, TRAINER, WORKSTATION = (
    DOCKER / f"{name}.Dockerfile" for name in ("orchestrator", "trainer", "workstation")
)
STAGES = ("training.sft", "training.grpo.__main__", "training.launcher", "evaluation.__main__")
KNOWN = {"FROM", "ARG", "LABEL", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "CMD"}


def run(app: Path, home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(app), "PERSONAMEM_HOME": str(home)}
    env |= {"OMP_NUM_THREADS": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *command], cwd=app, env=env, capture_output=True, text=True, timeout=120)


def without(*modules: str) -> str:
    """A statement after which these cannot be imported, as where they are not installed."""
    return f"import sys; sys.modules.update(dict.fromkeys({modules}));"


def test_there_are_the_images_that_the_documents_name() -> None:
    assert [path.stem for path in DOCKERFILES] == ["orchestrator", "trainer", "workstation"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
class TestEach:
    def test_what_it_copies_is_there_and_reaches_the_build(self, path: Path) -> None:
        for source, _ in copies(path):
            assert (PROJECT / source).exists(), source
            assert not ignored(source), source

    def test_it_is_written_plainly(self, path: Path) -> None:
        assert {
            one.name for one in instructions(path)
        } <= KNOWN  # no ENTRYPOINT: pods and run workers bring whole commands
        assert not [
            text for one in instructions(path) if one.name in ("ENV", "ARG") for text in [one.text] if "KEY" in text
        ]
        for one in instructions(path):
            if one.name == "FROM":
                image = one.text.split(" ")[0]
                assert image.startswith("$") or (":" in image and not image.endswith(":latest"))
            if one.name == "RUN" and "apt-get install" in one.text:
                assert "--no-install-recommends" in one.text and "rm -rf /var/lib/apt/lists" in one.text

    def test_it_installs_what_was_locked_and_nothing_else(self, path: Path) -> None:
        installs = [one.text for one in instructions(path) if "uv pip install" in one.text]
        assert installs
        assert all("--require-hashes" in text and " -r /locks/" in text for text in installs)

    def test_it_runs_as_nobody_in_particular(self, path: Path) -> None:
        assert final(path, "USER")[-1] == "1000"

    def test_it_shows_nobody_gpus_that_were_not_asked_for(self, path: Path) -> None:
        assert "NVIDIA_VISIBLE_DEVICES" not in variables(path)

    def test_it_sets_no_variable_that_nobody_reads(self, path: Path) -> None:
        assert all(f'"{name}"' in SETTINGS for name in variables(path) if name.startswith("PERSONAMEM_"))


def test_the_build_leaves_out_what_may_be_secret_or_is_large() -> None:
    for path in (
        ".git",
        ".venv",
        ".personamem",
        "tests",
        ".env",
        "docker/kubernetes/secrets.env",
        "personamem_pipeline/.env.local",
    ):
        assert ignored(path), path
    assert ignored("personamem_pipeline/memory/__pycache__")
    assert not ignored("personamem_pipeline/definitions.py")


def test_the_orchestrators_files_suffice_without_torch(tmp_path: Path) -> None:
    app = lay_out(ORCHESTRATOR, tmp_path / "app")
    load = without("torch", "transformers", "trl", "vllm", "datasets", "accelerate")
    load += "from personamem_pipeline.definitions import defs; print(len(list(defs.resolve_all_asset_specs())))"
    done = run(app, tmp_path, "-c", load)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 11
    told = run(app, tmp_path, "-m", "personamem_pipeline.cli", "presets")  # what /usr/local/bin/personamem runs
    assert told.returncode == 0 and "published" in told.stdout


@pytest.mark.parametrize("path", [ORCHESTRATOR, TRAINER], ids=lambda path: path.stem)
def test_the_commit_that_was_built_reaches_the_passports(path: Path) -> None:
    assert variables(path)["PERSONAMEM_GIT_COMMIT"] == "${GIT_SHA}"
    assert "GIT_SHA=" in final(path, "ARG")  # empty where nobody says it: no commit, not a wrong one


def test_the_workstation_has_what_the_orchestrator_has() -> None:
    assert {*copies(ORCHESTRATOR)} - {(".dagster_home/dagster.yaml", "/opt/dagster/dagster_home/dagster.yaml")} <= {
        *copies(TRAINER),
        *copies(WORKSTATION),
    }


@pytest.mark.slow
def test_the_trainers_files_suffice_without_dagster(tmp_path: Path) -> None:
    """Every stage can be imported, and one runs: as in the pod, but for the processor. Nothing of this checkout is there."""
    app, store = lay_out(TRAINER, tmp_path / "app"), tmp_path / "store"
    job = StageJob(stage="base_model", store=str(store), inputs={}, preset=load_preset("demo"), code_version="test")
    (tmp_path / "job.json").write_text(job.model_dump_json())
    stage = without("dagster", "dagster_webserver", "assets", "resources")
    stage += "".join(f"import personamem_pipeline.{module};" for module in STAGES)
    stage += "import runpy; runpy.run_module('personamem_pipeline.training.base', run_name='__main__', alter_sys=True)"
    (tmp_path / "stage.py").write_text(stage)
    done = run(app, tmp_path, str(tmp_path / "stage.py"), "--job", str(tmp_path / "job.json"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((store / "checkpoints").glob("*/manifest.json"))
    assert (app / "docker" / "accelerate" / "fsdp2.yaml").is_file()
