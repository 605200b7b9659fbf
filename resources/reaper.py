"""Ends the pods of runs that have ended, once a minute: what a killed run worker could not clear up any more.

A worker that is only asked to stop ends its pod itself. One that was killed (out of memory, a lost node) leaves it training;
one that lives on where its run is over, as after somebody marked it so, makes no new one (`resources.pods.compute`).
`ownerReferences` end it when the worker is a pod that somebody deletes; this sensor is for all other cases. It touches only
pods that this Dagster database made.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from resources.pods.api import Away, PodApi
from resources.pods.compute import KubernetesPods
from resources.pods.manifest import INSTANCE, MANAGED
from resources.pods.runs import instance_id, nobody_waits_for
from resources.pods.template import load_template

PATIENCE = 20.0
"""Seconds of outage; the next tick comes soon."""


def build_reaper(compute: KubernetesPods) -> dg.SensorDefinition:
    """The sensor; needs Dagster's daemon, and the same kubeconfig or service account as the runs."""

    @dg.sensor(
        name="pod_reaper",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends the pods of GPU stages whose run is over.",
    )
    def pod_reaper(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        hurried = compute.model_copy(update={"patience_seconds": PATIENCE})
        try:
            ended = reap(context.instance, hurried.api(load_template(Path(compute.template))))
        except Away as error:
            return dg.SkipReason(str(error))
        return dg.SkipReason(f"ended {', '.join(ended)}" if ended else "no pod outlives its run")

    return pod_reaper


def reap(instance: dg.DagsterInstance, api: PodApi) -> list[str]:
    """Delete the pods of this database's finished, or forgotten, runs; their names."""
    own = {**MANAGED, INSTANCE: instance_id(instance)}
    ended = []
    for pod in api.pods(",".join(f"{key}={value}" for key, value in own.items())):
        if nobody_waits_for(instance, pod) and not pod["metadata"].get("deletionTimestamp"):
            api.delete(pod["metadata"]["name"])
            ended.append(pod["metadata"]["name"])
    return ended
