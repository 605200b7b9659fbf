"""Dagster's own commands, typed as the README says, in a shell that sourced .envrc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(sys.executable).parent


def shell(command: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command line after `source .envrc`, with an installation and a Dagster home of its own."""
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / ".dagster_home" / "dagster.yaml", dagster_home / "dagster.yaml")
    exports = {"DAGSTER_HOME": str(dagster_home), "PERSONAMEM_HOME": str(home), **variables}
    lines = "; ".join(["source .envrc", *(f"export {name}='{value}'" for name, value in exports.items()), command])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "PERSONAMEM_"))}
    clean["PATH"] = f"{HERE}:{clean['PATH']}"
    return subprocess.run(
        ["bash", "-c", lines], cwd=ROOT, env=clean, capture_output=True, text=True, check=False, timeout=300
    )


def test_training_without_data_says_what_to_do(tmp_path: Path) -> None:
    result = shell("dagster asset materialize --select grpo_checkpoint", tmp_path)
    assert result.returncode != 0
    text = result.stdout + result.stderr
    assert "grpo_checkpoint needs training_dataset and sft_checkpoint, not materialized yet." in text
    assert "dagster asset materialize --select '*grpo_checkpoint'" in text


@pytest.mark.slow
def test_everything_upstream_is_built_by_one_command_and_then_the_asset_alone(tmp_path: Path) -> None:
    variables = {"DAGSTER_MODULE_NAME": "tests.commands.tiny_location"}
    everything = shell("dagster asset materialize --select '*grpo_checkpoint'", tmp_path, **variables)
    assert everything.returncode == 0, everything.stdout + everything.stderr
    alone = shell("dagster asset materialize --select grpo_checkpoint", tmp_path, **variables)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert "grpo_checkpoint_records_agree" in alone.stdout + alone.stderr, "its check runs with it, without being named"
    assert len(list((tmp_path / "store" / "checkpoints").iterdir())) == 3


@pytest.mark.slow
def test_the_servers_find_the_code_location_through_workspace_yaml(tmp_path: Path) -> None:
    result = shell("unset DAGSTER_MODULE_NAME; dagster definitions validate", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Validation successful for code location personamem" in result.stdout + result.stderr


def test_the_instance_file_is_understood_and_frees_the_slots_of_cancelled_runs(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / ".dagster_home" / "dagster.yaml", tmp_path / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.telemetry_enabled is False
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 60
        assert instance.run_retries_enabled
