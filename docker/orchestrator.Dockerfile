# syntax=docker/dockerfile:1
# Dagster's CPU services: code server, webserver, daemon and run workers; and MLflow's server. No torch: the GPU stages have
# an image of their own, docker/trainer.Dockerfile.
#
#   docker build -f docker/orchestrator.Dockerfile --build-arg GIT_SHA=$GIT_SHA -t personamem/orchestrator .  # see docs/kubernetes.md
#   docker compose -f docker/compose.yaml up

FROM python:3.11-slim AS builder
RUN pip install --no-cache-dir uv==0.13.9
RUN uv venv /venv
COPY docker/locks/orchestrator.txt /locks/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /venv --require-hashes --compile-bytecode --link-mode copy -r /locks/orchestrator.txt

FROM python:3.11-slim
ARG GIT_SHA=
LABEL org.opencontainers.image.title="personamem-pipeline orchestrator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${GIT_SHA}"
# DAGSTER_MODULE_NAME is not set: it conflicts with the `-w workspace.yaml` of the servers.
ENV PATH="/venv/bin:$PATH" \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/opt/dagster/dagster_home \
    PERSONAMEM_HOME=/var/lib/personamem \
    PERSONAMEM_GIT_COMMIT=${GIT_SHA}
RUN useradd --create-home --uid 1000 personamem \
    && install -d -o 1000 -g 1000 /opt/dagster/dagster_home /var/lib/personamem /data \
    && printf '#!/bin/sh\nexec python -m personamem_pipeline.cli "$@"\n' > /usr/local/bin/personamem \
    && chmod 755 /usr/local/bin/personamem
COPY --from=builder /venv /venv
WORKDIR /app
COPY pyproject.toml workspace.yaml ./
COPY personamem_pipeline personamem_pipeline
COPY assets assets
COPY resources resources
COPY presets presets
COPY models models
COPY examples examples
COPY docker/kubernetes/pod.yaml docker/kubernetes/pod.yaml
COPY --chown=1000:1000 .dagster_home/dagster.yaml /opt/dagster/dagster_home/dagster.yaml
USER 1000
EXPOSE 3000
# No entrypoint: run workers bring a whole command of their own.
CMD ["dagster-webserver", "-h", "0.0.0.0", "-p", "3000", "-w", "workspace.yaml"]
