"""The definitions as text, so that a change of the graph shows in review.

    make snapshot        # python -m tests.snapshot: write tests/snapshots/*.json anew, then look at the difference

`local.json` has everything; of the other ways to reach the world only what is different there. Code versions are given
without the digests of presets and prompts: those change often, and which change marks which asset is
tests/assets/test_staleness.py's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg

from personamem_pipeline.definitions import build_defs
from personamem_pipeline.settings import Compute
from tests.pipeline import settings_at

SNAPSHOTS = Path(__file__).parent / "snapshots"
WORLDS: tuple[Compute, ...] = ("local", "kubernetes")


def taken(compute: Compute) -> dict[str, Any]:
    """What people see of the definitions of the demo preset; of another world than the local one what differs."""
    whole = _whole(compute)
    if compute == "local":
        return whole
    local = _whole("local")
    return {section: value for section, value in whole.items() if value != local[section]}


def _whole(compute: Compute) -> dict[str, Any]:
    definitions = build_defs(settings_at(Path("/nowhere")).model_copy(update={"compute": compute}))
    repository = definitions.get_repository_def()
    nodes = repository.asset_graph
    return {
        "assets": {key.to_user_string(): _asset(nodes, key) for key in nodes.get_all_asset_keys()},
        "steps": {step.node_def.name: _step(step) for step in _steps(repository)},
        "jobs": {job.name: _job(job) for job in repository.get_all_jobs() if not job.name.startswith("__")},
        "schedules": {each.name: _schedule(each) for each in repository.schedule_defs},
        "sensors": {each.name: _sensor(each) for each in repository.sensor_defs},
        "resources": {
            name: {"type": type(resource).__name__, "fields": sorted(type(resource).model_fields)}
            for name, resource in (definitions.resources or {}).items()
        },
    }


def _job(job: dg.JobDefinition) -> dict[str, Any]:
    return {
        "assets": sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys),
        "tags": dict(job.tags),
    }


def _schedule(schedule: dg.ScheduleDefinition) -> dict[str, Any]:
    return {
        "job": schedule.job_name,
        "cron": schedule.cron_schedule,
        "zone": schedule.execution_timezone,
        "at first": schedule.default_status.value,
        "description": schedule.description,
    }


def _sensor(sensor: dg.SensorDefinition) -> dict[str, Any]:
    return {
        "at first": sensor.default_status.value,
        "seconds": sensor.minimum_interval_seconds,
        "description": sensor.description,
    }


def _asset(nodes: Any, key: dg.AssetKey) -> dict[str, Any]:
    node = nodes.get(key)
    checks = {check.name: nodes.get_check_spec(check) for check in node.check_keys}
    return {
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "parents": sorted(parent.to_user_string() for parent in node.parent_keys),
        "description": node.description,
        "code": (node.code_version or "").partition("+")[0],
        "shards": list(node.partitions_def.get_partition_keys()) if node.partitions_def else None,
        "backfill": node.backfill_policy.policy_type.value if node.backfill_policy else None,
        "checks": {
            name: {"blocking": spec.blocking, "description": spec.description} for name, spec in sorted(checks.items())
        },
    }


def _steps(repository: dg.RepositoryDefinition) -> list[dg.AssetsDefinition]:
    own = {
        id(each): each
        for each in (*repository.assets_defs_by_key.values(), *repository.asset_checks_defs_by_key.values())
    }
    return sorted(own.values(), key=lambda each: str(each.node_def.name))


def _step(step: dg.AssetsDefinition) -> dict[str, Any]:
    """What runs: an asset, or a check that is a step of its own."""
    op = step.op
    config = op.config_schema.as_field() if op.config_schema else None
    fields = getattr(config.config_type, "fields", {}) if config else {}
    return {
        "needs": sorted(op.required_resource_keys),
        "config": {name: [own.default_value, own.description] for name, own in fields.items()},
        "pool": op.pool,
        "retries": op.retry_policy.max_retries if op.retry_policy else 0,
        "tags": dict(op.tags),
    }


def text(snapshot: dict[str, Any]) -> str:
    """The content of a snapshot's file."""
    return json.dumps(snapshot, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for world in WORLDS:
        (SNAPSHOTS / f"{world}.json").write_text(text(taken(world)))
