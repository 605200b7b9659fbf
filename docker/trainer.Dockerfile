# syntax=docker/dockerfile:1
# The GPU stages: torch and vLLM for CUDA, TRL, and personamem_pipeline. No Dagster: a stage speaks Pipes, which is one file
# without dependencies. The pod says which command runs; `vllm serve` is in the same image (docker/kubernetes/vllm.yaml).
#
#   docker build -f docker/trainer.Dockerfile --build-arg GIT_SHA=$GIT_SHA -t personamem/trainer .  # see docs/kubernetes.md
#
# PyPI's wheels bring CUDA 13 with them (nvidia-*, nvcc too), so the base needs none: the node's driver is enough. A C compiler
# stays in the image, because Triton and FlashInfer compile kernels when they are first used.

FROM python:3.11-slim
ARG GIT_SHA=
LABEL org.opencontainers.image.title="personamem-pipeline trainer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${GIT_SHA}"
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /venv
COPY docker/locks/trainer.txt /locks/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /venv --require-hashes --compile-bytecode --link-mode copy -r /locks/trainer.txt
# For the NVIDIA container runtime. Which GPUs there are (NVIDIA_VISIBLE_DEVICES) is for whoever starts the container to say:
# `all` in the image would show a pod that asked for none every GPU of its node.
# https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
ENV PATH="/venv/bin:$PATH" \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PERSONAMEM_HOME=/var/lib/personamem \
    PERSONAMEM_GIT_COMMIT=${GIT_SHA}
RUN useradd --create-home --uid 1000 personamem && install -d -o 1000 -g 1000 /var/lib/personamem /data /scratch
WORKDIR /app
COPY personamem_pipeline personamem_pipeline
COPY presets presets
COPY models models
COPY examples examples
COPY docker/accelerate docker/accelerate
USER 1000
