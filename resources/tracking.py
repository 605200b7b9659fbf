"""MLflow: one run per materialization of a training or evaluation stage, and a registered model of what may be used.

Dagster is the source of lineage; MLflow holds parameters and curves. Everything goes through `MlflowClient` and an
explicit run id: the fluent `mlflow.*` functions keep a process-wide active run, which two stages in one process would
share. MLflow takes seconds to import, hence only inside the methods. Registering and reading back is in `registry` and
`statements`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from personamem_pipeline.passports.comparing import Statement
from personamem_pipeline.seeds import canonical_json
from resources import registry, statements

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "personamem"
DIGEST_CHARACTERS = 36
"""MLflow's column for a dataset's digest is that wide; the whole version stands in the input's `version` tag."""
PARAMETER_CHARACTERS = 6000
REASON_CHARACTERS = 500


class Tracking(dg.ConfigurableResource):
    """Runs, metrics, dataset inputs and logged models on the MLflow at `uri`."""

    uri: str

    def start(
        self,
        context: dg.AssetExecutionContext,
        stage: str,
        params: Mapping[str, Any],
        inputs: Mapping[str, tuple[str, str]],
    ) -> str:
        """Open a run and return its id. `inputs` maps a parent's name to its (version, path)."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

        client = self._client()
        tags = {
            "dagster.run_id": context.run.run_id,
            "dagster.retry_number": str(context.retry_number),
            "asset": stage,
            **{f"input.{name}": version for name, (version, _) in inputs.items()},
        }
        run = client.create_run(_experiment(client, self.uri), run_name=stage, tags=tags)
        run_id: str = run.info.run_id
        no_metrics: list[Metric] = []
        no_tags: list[RunTag] = []
        logged = [Param(name, _text(value)) for name, value in sorted(params.items())]
        client.log_batch(run_id, metrics=no_metrics, params=logged, tags=no_tags)
        datasets = [
            DatasetInput(
                Dataset(name, version[:DIGEST_CHARACTERS], "local", canonical_json({"uri": path})),
                [InputTag("mlflow.data.context", stage), InputTag("version", version)],
            )
            for name, (version, path) in inputs.items()
        ]
        if datasets:
            client.log_inputs(run_id, datasets=datasets)
        return run_id

    def record(self, run_id: str, version: str, metrics: Mapping[str, float], path: str | Path) -> None:
        """Log what the run made: its version, where it lies, and the final metrics. The run stays open: whether it was
        good is not known yet."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        tags = [RunTag("data_version", version), RunTag("path", str(path))]
        logged = [Metric(name, value, now, 0) for name, value in sorted(metrics.items())]
        self._client().log_batch(run_id, metrics=logged, tags=tags)

    def finish(self, run_id: str) -> None:
        """Close a run that ended well."""
        self._client().set_terminated(run_id, "FINISHED")

    def log_model(self, run_id: str, metrics: Mapping[str, float]) -> str:
        """Make the checkpoint that a run recorded an external model, linked to the run and its datasets; its id."""
        client = self._client()
        return _log_model(client, client.get_run(run_id), metrics)

    def offer(self, run_id: str, model_id: str, card: str) -> str:
        """Make the checkpoint of a run a version of the registered model, and that the candidate; returns what was done,
        in words. The same checkpoint made again is the same version."""
        client = self._client()
        return registry.offer(client, client.get_run(run_id), client.get_logged_model(model_id), card)

    def judged(self, verdict: registry.Judged, doubts: Sequence[str]) -> str:
        """Write a report's verdict on a checkpoint beside its registered model; without doubts it becomes the champion.
        Returns what was done, in words."""
        return registry.judged(self._client(), verdict, doubts)

    def says(self, run_id: str) -> list[Statement]:
        """What MLflow states of the run: its tags, its datasets, and the registered model that was made of it."""
        return statements.of_run(self._client(), run_id)

    def fail(self, run_id: str, reason: str) -> None:
        """Close a run whose stage did not end well. Only the first line of the reason is kept: after it come the last lines
        of a process's log, which Dagster has, and of which nobody knows what they show."""
        client = self._client()
        client.set_tag(run_id, "failure", reason.strip().partition("\n")[0][:REASON_CHARACTERS])
        client.set_terminated(run_id, "FAILED")

    def aliases(self) -> dict[str, str]:
        """Alias of the registered model -> version of the checkpoint that it names, and of the report that the champion
        passed; empty before the first one."""
        return registry.aliases(self._client()) if self._begun() else {}

    def champion(self) -> registry.Champion | None:
        """The champion and the report that it passed; None before the first one."""
        return registry.champion(self._client()) if self._begun() else None

    def url_or_path(self, run_id: str) -> str:
        """Where a person looks at the run: a URL for a server, else the command's database and the run id."""
        if not self.uri.startswith("http"):
            return f"{self.uri}#{run_id}"
        experiment = self._client().get_run(run_id).info.experiment_id
        return f"{self.uri.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"

    def _begun(self) -> bool:
        """Whether there is anything to ask; a client would make the database."""
        database = _sqlite_file(self.uri)
        return database is None or database.exists()

    def _client(self) -> MlflowClient:
        import os

        # MLflow asks a server on every import whether it may report usage; a run on a laptop stays on the laptop.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        if (database := _sqlite_file(self.uri)) is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


def _experiment(client: MlflowClient, uri: str) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    # Without a server, MLflow would put artifacts under whatever directory the process happens to run in.
    database = _sqlite_file(uri)
    return str(client.create_experiment(EXPERIMENT, str(database.parent / "mlruns") if database else None))


def _sqlite_file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _log_model(client: MlflowClient, run: Any, metrics: Mapping[str, float]) -> str:
    from mlflow.entities import LoggedModelOutput

    made = {name: run.data.tags[name] for name in ("data_version", "path", "dagster.run_id")}
    model = client.create_logged_model(
        run.info.experiment_id,
        name=run.data.tags["asset"],
        source_run_id=run.info.run_id,
        model_type="external",
        tags={**made, **_input_tags(run.data.tags)},
    )
    for entry in run.inputs.dataset_inputs:
        for name, value in sorted(metrics.items()):
            client.log_metric(
                run.info.run_id,
                name,
                value,
                step=0,
                model_id=model.model_id,
                dataset_name=entry.dataset.name,
                dataset_digest=entry.dataset.digest,
            )
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
    client.finalize_logged_model(model.model_id, "READY")
    model_id: str = model.model_id
    return model_id


def _input_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name.startswith("input.")}


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else canonical_json(value))[:PARAMETER_CHARACTERS]
