"""GPU stages as Kubernetes pods, behind the same `Compute` as local processes.

`template` is what a pod looks like, in one typed file made of `fields`; `placing` says what a pod can reach and where its
steps go; `manifest` makes the API's JSON of it; `connection` finds the cluster and `api` makes the few calls, through
outages; `status` reads what has become of a pod, and `telling` tells the run's log of it; `log` and `messages` follow its
words; `runs` says for whom a pod works, `predecessors` ends what does the same work, and `ending` waits until it is gone;
`client` lives through one pod's life; `failure` says what its end means; `compute` is the resource. `kubernetes` is imported
only inside functions of `api` and `connection`, as the code location must load quickly.

Why this is no subclass of `dagster_k8s.PipesK8sClient` is told in `client`.
"""
