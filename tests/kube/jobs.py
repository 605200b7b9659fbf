"""batch/v1 jobs: what `dagster_k8s.K8sRunLauncher` starts runs with."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from tests.kube.objects import Json, Registry, moment, now

OVER = ("Succeeded", "Failed")
"""Phases of a pod that has ended."""


class Jobs:
    """The job controller."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def step(self, job: Json) -> None:
        """One pod at a time until one succeeds or `backoffLimit` more have failed; its end, and its time to live."""
        name, namespace, status = job["metadata"]["name"], job["metadata"]["namespace"], job["status"]
        if status.get("conditions"):
            patience = job["spec"].get("ttlSecondsAfterFinished")
            ended = status["conditions"][0]["lastTransitionTime"]
            if patience is not None and datetime.now(UTC) > moment(ended) + timedelta(seconds=patience):
                self.registry.remove("jobs", job)
            return
        labels = {"job-name": name, "batch.kubernetes.io/job-name": name, "controller-uid": job["metadata"]["uid"]}
        own = self.registry.all("pods", namespace, labels=f"controller-uid={job['metadata']['uid']}")
        phases = [pod["status"].get("phase") for pod in own]
        failed, active = phases.count("Failed"), sum(phase not in OVER for phase in phases)
        # Pods that were deleted under the job have failed as well.
        failed += max(0, int(status.get("made", 0)) - len(own))
        new: Json = {"active": active, "succeeded": phases.count("Succeeded"), "failed": failed}
        end = "Complete" if new["succeeded"] else "Failed" if failed > job["spec"].get("backoffLimit", 6) else None
        if end:
            new["conditions"] = [{"type": end, "status": "True", "lastTransitionTime": now()}]
            new["completionTime"] = now()
        elif not active:
            template = job["spec"]["template"]
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": dict(template.get("metadata") or {}),
                "spec": template["spec"],
            }
            pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
            pod["metadata"]["name"] = f"{name}-{uuid.uuid4().hex[:5]}"
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
            pod["metadata"]["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
            self.registry.add("pods", namespace, {**pod, "status": {"phase": "Pending", "conditions": []}})
            new |= {"active": 1, "made": int(status.get("made", 0)) + 1, "startTime": status.get("startTime") or now()}
        if any(status.get(key) != value for key, value in new.items()):
            status |= new
            self.registry.touch(job)

    def delete(self, job: Json, propagation: str) -> None:
        """Without a policy batch/v1 leaves the pods behind, as orphans."""
        with self.registry.changed:
            if propagation == "Orphan":
                for pod in self.registry.all("pods", job["metadata"]["namespace"]):
                    owners = pod["metadata"].get("ownerReferences") or []
                    kept = [owner for owner in owners if owner["uid"] != job["metadata"]["uid"]]
                    if len(kept) != len(owners):
                        pod["metadata"]["ownerReferences"] = kept
            self.registry.remove("jobs", job)
