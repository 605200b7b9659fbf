"""The registered model in MLflow: every `grpo_checkpoint` is a version of it, and two aliases say which to look at.

- `candidate`: the newest checkpoint that kept its promises. Moved by training, before `records_agree` has compared what was
  recorded of it: no report reads one whose records disagree, so that it stays a candidate.
- `champion`: the newest that the benchmark found no fault in. Moved by `benchmark_report` alone, and only when nothing that
  it watches went wrong and it could be compared with a report before (the first champion has none); never back to an older
  version, unless training made that again, and never to one that a person replaced by moving the alias. Who deploys reads
  this one; its tag `report` is what the next are held against.

A version is named by the checkpoint's digest (tag `data_version`), so the same weights made twice are registered once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

MODEL = "personamem-grpo"
CANDIDATE, CHAMPION = "candidate", "champion"
PASSED = "passed"
CHOSEN = "champion.chosen"
"""Tag of the registered model: the version that the gate made the champion last."""
ABOUT = "Checkpoints of grpo_checkpoint. The weights lie in the project's store (tag `path`), not in MLflow."
DESCRIPTION_CHARACTERS = 5000
"""MLflow's column for a version's description; the whole card is attached to the checkpoint."""


@dataclass(frozen=True)
class Judged:
    """What a report says of one checkpoint."""

    checkpoint: str
    """Its version in the store."""
    report: str
    """Version of the report."""
    card: str
    """The checkpoint's model card, with the report's figures."""
    compared: bool
    """Whether it was held against a report before."""


@dataclass(frozen=True)
class Champion:
    """What the alias names."""

    checkpoint: str
    """Its version in the store."""
    report: str | None
    """Version of the report that it passed; None where a person moved the alias to one that was never judged."""


def offer(client: MlflowClient, run: Any, model: Any, card: str) -> str:
    """Register what a run made and let `candidate` name it; returns what was done, in words."""
    version, path = run.data.tags["data_version"], run.data.tags["path"]
    found = registered(client, version)
    if found is None:
        _create(client)
        tags = {"data_version": version, "path": path, "dagster.run_id": run.data.tags["dagster.run_id"]}
        inputs = {name: value for name, value in run.data.tags.items() if name.startswith("input.")}
        found = client.create_model_version(
            MODEL,
            source=_source(client, path, model),
            run_id=run.info.run_id,
            tags={**tags, **inputs},
            description=card[:DESCRIPTION_CHARACTERS],
            model_id=model.model_id,
        )
    client.set_registered_model_alias(MODEL, CANDIDATE, str(found.version))
    return f"{MODEL} version {found.version} is the {CANDIDATE}"


def judged(client: MlflowClient, verdict: Judged, doubts: Sequence[str]) -> str:
    """Keep a report's verdict with the version of a checkpoint, and move `champion` to it when there is no doubt. Returns
    what was done, in words."""
    found = registered(client, verdict.checkpoint)
    if found is None:
        short = verdict.checkpoint[:12]
        return f"no version of {MODEL} is checkpoint {short}: materialize grpo_checkpoint again to register it"
    number, candidate, champion = str(found.version), _number(client, CANDIDATE), _number(client, CHAMPION)
    if not verdict.compared and champion not in (None, number):
        doubts = [*doubts, f"not compared with a report before, and version {champion} is the {CHAMPION}"]
    if number == _chosen(client) and champion != number:
        doubts = [*doubts, f"it was the {CHAMPION}, and somebody moved the alias to version {champion}"]
    gate = f"held back: {'; '.join(doubts)}" if doubts else PASSED
    client.update_model_version(MODEL, number, description=verdict.card[:DESCRIPTION_CHARACTERS])
    if not (doubts and number == champion):  # one that it fell in is no measure for the next
        client.set_model_version_tag(MODEL, number, "report", verdict.report)
    client.set_model_version_tag(MODEL, number, "gate", gate)
    if doubts:
        return f"{MODEL} version {number} is {gate}"
    if champion is not None and int(champion) > int(number) and candidate != number:
        return f"{MODEL} version {number} {PASSED}, and version {champion}, which is newer, stays the {CHAMPION}"
    client.set_registered_model_alias(MODEL, CHAMPION, number)
    client.set_registered_model_tag(MODEL, CHOSEN, number)
    return f"{MODEL} version {number} is the {CHAMPION}"


def aliases(client: MlflowClient) -> dict[str, str]:
    """Alias -> digest of the checkpoint that it names, and of the report that the champion passed; empty where nothing is
    registered."""
    found = {
        alias: str(client.get_model_version(MODEL, number).tags["data_version"])
        for model in client.search_registered_models(f"name = '{MODEL}'")
        for alias, number in model.aliases.items()
    }
    best = champion(client)
    return {**found, **({f"report of the {CHAMPION}": best.report} if best and best.report else {})}


def champion(client: MlflowClient) -> Champion | None:
    """The checkpoint that is deployed by now; None before the first."""
    number = _number(client, CHAMPION)
    if number is None:
        return None
    tags = client.get_model_version(MODEL, number).tags
    return Champion(str(tags["data_version"]), tags.get("report"))


def registered(client: MlflowClient, version: str) -> ModelVersion | None:
    """The registered version whose checkpoint has this digest."""
    found = client.search_model_versions(f"name = '{MODEL}' and tags.data_version = '{version}'")
    # The oldest, should two runs have registered one checkpoint at the same moment.
    return min(found, key=lambda each: int(each.version), default=None)


def _number(client: MlflowClient, alias: str) -> str | None:
    model = _model(client)
    return str(model.aliases[alias]) if model and alias in model.aliases else None


def _chosen(client: MlflowClient) -> str | None:
    model = _model(client)
    return model.tags.get(CHOSEN) if model else None


def _model(client: MlflowClient) -> RegisteredModel | None:
    return next(iter(client.search_registered_models(f"name = '{MODEL}'")), None)


def _create(client: MlflowClient) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(MODEL, description=ABOUT)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _source(client: MlflowClient, path: str, model: Any) -> str:
    """Where `models:/personamem-grpo@champion` leads: to the checkpoint itself. A tracking server refuses paths of some
    machine's disk (mlflow.server.handlers, _validate_source_model); there it is the logged model's own place, which holds
    no weights, and the tag `path` says where they are."""
    remote = client.tracking_uri.startswith("http")
    return str(model.artifact_location) if remote and Path(path).is_absolute() else path
