"""The only place that reads the environment.

Everything that differs between a laptop and a cluster is a setting; everything that differs between experiments is in a
preset (`presets/`). Secrets are `SecretStr`: they are never printed, stored or logged.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypedDict, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from personamem_pipeline.environment import image_digest, key, number, one_of, path, without_secrets
from personamem_pipeline.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
POD_TEMPLATE = PROJECT / "docker" / "kubernetes" / "pod.yaml"
SIMULATOR = "simulator/1"
GUESSER = "guesser/1"
"""The second reader that the simulator serves in this process."""
AWS_KEYS = "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
Structured = Literal["auto", "json_schema", "json_object", "text"]
Compute = Literal["local", "kubernetes"]
ShardRuns = Literal["together", "apart"]


class EndpointOptions(TypedDict, total=False):
    """How a model endpoint is used: what `Endpoint` and `EndpointResource` take beside its address, model and key."""

    concurrency: int | None
    timeout: float
    max_tokens: int
    structured: Structured
    cache: str | None
    price_input: float | None
    price_output: float | None
    budget_tokens: int | None
    budget_dollars: float | None
    batch: bool
    batch_poll_seconds: float


class Settings(BaseModel):
    """Where things are. Built once by `load_settings()` and passed on; tests build their own."""

    model_config = ConfigDict(frozen=True)
    home: Path
    """Everything this installation produces: store, MLflow database, scratch, reports."""
    preset: str
    """Name of a file in `presets/`, or a path to one."""
    llm_base_url: str | None
    """Base URL of an OpenAI-compatible endpoint; None means the built-in simulator."""
    llm_model: str
    llm_api_key: SecretStr | None
    mlflow_uri: str
    seed: int | None
    """Overrides the preset's seed of the training stages; None keeps the preset's."""
    llm_concurrency: int | None = None
    """Most requests in flight; None: 64, and 16 for the simulator in this process."""
    llm_timeout: float = 600.0
    """Seconds for one request."""
    llm_max_tokens: int = 8192
    """Of one reply; what is longer is cut off and asked for again once, more briefly."""
    llm_structured: Structured = "auto"
    """How JSON is asked for; auto: by schema, and more weakly when the server takes none."""
    llm_cache: bool = True
    """Whether answers are kept under `home` and used again."""
    llm_price_input: float | None = None
    llm_price_output: float | None = None
    """Dollars per million tokens, for the cost; None: unknown. OpenAI bills batches at half its prices."""
    llm_budget_tokens: int | None = None
    llm_budget_dollars: float | None = None
    """A run stops cleanly before it would spend more."""
    llm_batch: bool = False
    """Whether requests go through the Batch API: slower and cheaper."""
    llm_batch_poll_seconds: float = 30.0
    reader_base_url: str | None = None
    """A second model that certificates are measured with; None: the author's address."""
    reader_model: str | None = None
    """None: there is none, or the simulator's guesser where the author is the simulator in this process."""
    reader_api_key: SecretStr | None = None
    reader_price_input: float | None = None
    reader_price_output: float | None = None
    embedding_base_url: str | None = None
    """An OpenAI-compatible server for embeddings, where the preset's `evaluation.retrieval.embedder` is not the packaged
    one."""
    embedding_api_key: SecretStr | None = None
    vllm_base_url: str | None = None
    """The vLLM server that GRPO samples from where `grpo.engine` is vllm_server; without /v1."""
    store_url: str | None = None
    """Where the store is: a directory or s3://bucket/prefix; None: `home/store`."""
    s3_endpoint: str | None = None
    """An S3 server other than Amazon's; credentials come from the usual AWS_* variables."""
    compute: Compute = "local"
    """Where GPU stages run: as processes of this machine, or as pods."""
    pod_template: Path = POD_TEMPLATE
    """What a pod of a GPU stage looks like (`resources/pods/template.py`)."""
    kubeconfig: Path | None = None
    """None: the cluster that this process runs in, else what kubectl would take."""
    shard_runs: ShardRuns = "together"
    """Whether a backfill makes the shards in one run, or each in a run (and so, with `K8sRunLauncher`, a pod) of its own."""
    git_commit: str | None = None
    """The commit that the image was built from, `-dirty` at its end with changes; a working tree says so itself."""
    image: str | None = None
    """Digest of the container image that this process runs in, as the image or pod says; None outside containers."""

    @property
    def store(self) -> str:
        return self.store_url or str(self.home / "store")

    @property
    def response_cache(self) -> Path | None:
        """The file of the response cache; None when it is off."""
        return self.home / "cache" / "llm.sqlite" if self.llm_cache else None

    @property
    def llm_options(self) -> EndpointOptions:
        """How the author's endpoint is used: `Endpoint(settings.llm_base_url, ..., **settings.llm_options)`."""
        return {
            "concurrency": self.llm_concurrency,
            "timeout": self.llm_timeout,
            "max_tokens": self.llm_max_tokens,
            "structured": self.llm_structured,
            "cache": str(self.response_cache) if self.response_cache else None,
            "price_input": self.llm_price_input,
            "price_output": self.llm_price_output,
            "budget_tokens": self.llm_budget_tokens,
            "budget_dollars": self.llm_budget_dollars,
            "batch": self.llm_batch,
            "batch_poll_seconds": self.llm_batch_poll_seconds,
        }

    @property
    def readers(self) -> tuple[str, ...]:
        """The models that certificates are measured with: the author, and the second reader if there is one."""
        second = self.reader_model or (None if self.llm_base_url else GUESSER)
        return (self.llm_model, second) if second else (self.llm_model,)


def load_settings() -> Settings:
    """Settings from `PERSONAMEM_*` variables, with defaults that need nothing set. Raises `UserError` for a value that
    is none."""
    home = Path(os.environ.get("PERSONAMEM_HOME", PROJECT / ".personamem")).absolute()
    base_url = os.environ.get("PERSONAMEM_LLM_BASE_URL") or None
    reader_url = os.environ.get("PERSONAMEM_READER_BASE_URL") or None
    reader_model = os.environ.get("PERSONAMEM_READER_MODEL") or None
    if reader_url and not reader_model:
        problem = "a second reader has an address and no model"
        raise UserError(problem, where="PERSONAMEM_READER_BASE_URL", remedy="export PERSONAMEM_READER_MODEL=...")
    model = os.environ.get("PERSONAMEM_LLM_MODEL") or (None if base_url else SIMULATOR)
    if model is None:
        problem = "an endpoint has an address and no model"
        raise UserError(problem, where="PERSONAMEM_LLM_BASE_URL", remedy="export PERSONAMEM_LLM_MODEL=...")
    author_key = key("PERSONAMEM_LLM_API_KEY", base_url)
    embedding_url = os.environ.get("PERSONAMEM_EMBEDDING_BASE_URL") or None
    for name, url in (("LLM", base_url), ("READER", reader_url), ("EMBEDDING", embedding_url)):
        put = f"put the key into PERSONAMEM_{name}_API_KEY"
        without_secrets(url, f"PERSONAMEM_{name}_BASE_URL", remedy=put, queries=("api-version",))
    vllm_url = os.environ.get("PERSONAMEM_VLLM_BASE_URL") or None
    without_secrets(vllm_url, "PERSONAMEM_VLLM_BASE_URL", remedy="take it out of the address")
    if vllm_url and urlsplit(vllm_url).path.strip("/"):
        problem = f"{vllm_url!r} has a path in it"
        raise UserError(problem, where="PERSONAMEM_VLLM_BASE_URL", expected="http://HOST:PORT, without /v1")
    prices = [number(f"PERSONAMEM_READER_PRICE_{side}", float) for side in ("INPUT", "OUTPUT")]
    budget_dollars = number("PERSONAMEM_LLM_BUDGET_DOLLARS", float)
    if reader_model and budget_dollars is not None and None in prices:
        raise UserError(
            "a budget in dollars needs the second reader's prices, too",
            where="PERSONAMEM_LLM_BUDGET_DOLLARS",
            remedy="export PERSONAMEM_READER_PRICE_INPUT=... PERSONAMEM_READER_PRICE_OUTPUT=...",
        )
    return Settings(
        home=home,
        preset=os.environ.get("PERSONAMEM_PRESET", "demo"),
        llm_base_url=base_url,
        llm_model=model,
        llm_api_key=author_key,
        mlflow_uri=_mlflow_uri() or f"sqlite:///{home / 'mlflow.db'}",
        seed=number("PERSONAMEM_SEED", int, lowest=None),
        llm_concurrency=number("PERSONAMEM_LLM_CONCURRENCY", int, lowest=1),
        llm_timeout=number("PERSONAMEM_LLM_TIMEOUT", float, lowest=1) or 600.0,
        llm_max_tokens=number("PERSONAMEM_LLM_MAX_TOKENS", int, lowest=1) or 8192,
        llm_structured=cast(
            Structured, one_of("PERSONAMEM_LLM_STRUCTURED", ("auto", "json_schema", "json_object", "text"))
        ),
        llm_cache=one_of("PERSONAMEM_LLM_CACHE", ("on", "off")) == "on",
        llm_price_input=number("PERSONAMEM_LLM_PRICE_INPUT", float),
        llm_price_output=number("PERSONAMEM_LLM_PRICE_OUTPUT", float),
        llm_budget_tokens=number("PERSONAMEM_LLM_BUDGET_TOKENS", int),
        llm_budget_dollars=budget_dollars,
        llm_batch=one_of("PERSONAMEM_LLM_BATCH", ("off", "on")) == "on",
        llm_batch_poll_seconds=number("PERSONAMEM_LLM_BATCH_POLL_SECONDS", float, lowest=0.01) or 30.0,
        reader_base_url=reader_url or (base_url if reader_model else None),
        reader_model=reader_model,
        reader_api_key=key("PERSONAMEM_READER_API_KEY", reader_url) or (author_key if not reader_url else None),
        reader_price_input=prices[0],
        reader_price_output=prices[1],
        embedding_base_url=embedding_url,
        embedding_api_key=key("PERSONAMEM_EMBEDDING_API_KEY", embedding_url),
        vllm_base_url=vllm_url,
        store_url=_store_url(),
        s3_endpoint=without_secrets(
            os.environ.get("PERSONAMEM_S3_ENDPOINT") or None, "PERSONAMEM_S3_ENDPOINT", remedy=AWS_KEYS
        ),
        compute=cast(Compute, one_of("PERSONAMEM_COMPUTE", ("local", "kubernetes"))),
        pod_template=Path(os.environ.get("PERSONAMEM_POD_TEMPLATE") or POD_TEMPLATE).absolute(),
        kubeconfig=path("PERSONAMEM_KUBECONFIG"),
        shard_runs=cast(ShardRuns, one_of("PERSONAMEM_SHARD_RUNS", ("together", "apart"))),
        git_commit=os.environ.get("PERSONAMEM_GIT_COMMIT") or None,
        image=image_digest("PERSONAMEM_IMAGE"),
    )


def _mlflow_uri() -> str | None:
    server = (
        "give the http(s) address of an MLflow server, and export MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
        "(for pods: in a Secret that env_from_secrets names)"
    )
    return without_secrets(os.environ.get("MLFLOW_TRACKING_URI") or None, "MLFLOW_TRACKING_URI", remedy=server)


def _store_url() -> str | None:
    store = os.environ.get("PERSONAMEM_STORE") or None
    if store is None or "://" not in store:  # a directory may be called as it likes
        return store
    return without_secrets(store, "PERSONAMEM_STORE", remedy=AWS_KEYS)


def switch_cache_off() -> None:
    """For this process and the stages it starts, which read their settings themselves."""
    os.environ["PERSONAMEM_LLM_CACHE"] = "off"
