# syntax=docker/dockerfile:1
# One machine with GPUs and no cluster: Dagster laid over the trainer, so that GPU stages run as processes of the code server.
#
#   docker build -f docker/workstation.Dockerfile --build-arg TRAINER=personamem/trainer -t personamem/workstation .
#   docker compose -f docker/compose.yaml -f docker/compose.gpu.yaml up
#
# Both locks obey constraints.txt, and tests/docker/test_locks.py holds that what they share has one version.

ARG TRAINER=personamem/trainer
FROM ${TRAINER}
USER 0
COPY docker/locks/orchestrator.txt /locks/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /venv --require-hashes --compile-bytecode --link-mode copy -r /locks/orchestrator.txt
RUN install -d -o 1000 -g 1000 /opt/dagster/dagster_home
COPY pyproject.toml workspace.yaml ./
COPY assets assets
COPY resources resources
COPY docker/kubernetes/pod.yaml docker/kubernetes/pod.yaml
ENV DAGSTER_HOME=/opt/dagster/dagster_home
USER 1000
CMD ["dagster", "api", "grpc", "-m", "personamem_pipeline.definitions", "-h", "0.0.0.0", "-p", "4000"]
