"""Installations for tests: the data stages are built once, and every test gets a copy of its own to break."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.pipeline import DATA, Pipeline, small_preset


@pytest.fixture(scope="session")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose data stages are materialized; only to be copied or read."""
    home = tmp_path_factory.mktemp("data")
    (home / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        pipeline = Pipeline(home, instance, small_preset())
        assert pipeline.run(*DATA).success
    return home


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, which take seconds to create."""
    from resources.tracking import Tracking

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Tracking(uri=f"sqlite:///{path}")._client().search_experiments()
    return path


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory, data_home: Path, mlflow_database: Path) -> Path:
    """An installation in which everything is materialized; only to be copied or read."""
    home = tmp_path_factory.mktemp("trained") / "home"
    shutil.copytree(data_home, home)
    shutil.copyfile(mlflow_database, home / "mlflow.db")
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        pipeline = Pipeline(home, instance, small_preset())
        assert pipeline.run("base_model", "sft_checkpoint", "grpo_checkpoint", "benchmark_report").success
    return home


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Pipeline]:
    """An installation in which nothing was materialized."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Pipeline(tmp_path, instance, small_preset())


@pytest.fixture
def pipeline(tmp_path: Path, data_home: Path, mlflow_database: Path) -> Iterator[Pipeline]:
    """A copy of the installation with data, free to be changed."""
    home = tmp_path / "home"
    shutil.copytree(data_home, home)
    shutil.copyfile(mlflow_database, home / "mlflow.db")
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        yield Pipeline(home, instance, small_preset())
