"""A Kubernetes cluster that runs anywhere: a real HTTP API over loopback whose kubelet runs local processes.

What talks to it is the real thing: the `kubernetes` client, `dagster_k8s`, Pipes, our stages. `cluster.FakeCluster` is what
tests use; `faults` is what can go wrong with the API server, and the cluster's own methods what can go wrong with pods.

Left out, so no test may lean on it: watches, patches, admission webhooks, init containers and sidecars (refused),
images and volumes (a pod sees this machine's files), several processes of one container counting as PID 1's children.
"""
