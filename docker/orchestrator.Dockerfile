# syntax=docker/dockerfile:1
# Dagster's CPU services: code server, webserver, daemon and run workers. No torch; the GPU stages have their own image.
#
#   docker build -f docker/orchestrator.Dockerfile -t personamem/orchestrator .
#   docker run -p 3000:3000 -v personamem:/data personamem/orchestrator
#   docker run personamem/orchestrator dagster api grpc -m personamem_pipeline.definitions -h 0.0.0.0 -p 4000

FROM python:3.11-slim AS builder
RUN --mount=type=cache,target=/root/.cache/pip pip install uv
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
# The dependencies first, so that a change of code does not install them again.
RUN python -m venv /venv && mkdir personamem_pipeline assets resources \
    && touch personamem_pipeline/__init__.py assets/__init__.py resources/__init__.py
RUN --mount=type=cache,target=/root/.cache/uv \
    VIRTUAL_ENV=/venv uv pip install --constraint constraints.txt --editable '.[k8s]'

FROM python:3.11-slim
ARG GIT_SHA=unknown
LABEL org.opencontainers.image.title="personamem-pipeline orchestrator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${GIT_SHA}"
# DAGSTER_MODULE_NAME is not set: it conflicts with the `-w workspace.yaml` of the servers.
ENV PATH="/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/data/dagster \
    PERSONAMEM_HOME=/data/personamem
RUN useradd --create-home --uid 1000 personamem && mkdir -p /data/dagster /data/personamem && chown -R 1000:1000 /data
COPY --from=builder /venv /venv
WORKDIR /app
COPY pyproject.toml workspace.yaml README.md ./
COPY personamem_pipeline personamem_pipeline
COPY assets assets
COPY resources resources
COPY presets presets
COPY models models
COPY --chown=1000:1000 .dagster_home/dagster.yaml /data/dagster/dagster.yaml
USER 1000
VOLUME /data
EXPOSE 3000
CMD ["dagster-webserver", "-h", "0.0.0.0", "-p", "3000", "-w", "workspace.yaml"]
