"""What a pod must know of this machine's settings: all that the stage's process would inherit here, except secrets.

A pod inherits nothing. Without this, a stage in a pod would ask the built-in simulator where the same stage on this machine
asks the endpoint that is set, and nobody would notice. Preset, store and MLflow's address are in the `StageJob`.
"""

from __future__ import annotations

from personamem_pipeline.settings import Settings


def stage_environment(settings: Settings) -> dict[str, str]:
    """The variables that `load_settings` reads the same settings from; keys and this machine's own paths left out."""
    values: dict[str, object] = {
        "PERSONAMEM_LLM_BASE_URL": settings.llm_base_url,
        "PERSONAMEM_LLM_MODEL": settings.llm_model,
        "PERSONAMEM_LLM_CONCURRENCY": settings.llm_concurrency,
        "PERSONAMEM_LLM_TIMEOUT": settings.llm_timeout,
        "PERSONAMEM_LLM_MAX_TOKENS": settings.llm_max_tokens,
        "PERSONAMEM_LLM_STRUCTURED": settings.llm_structured,
        "PERSONAMEM_LLM_CACHE": "on" if settings.llm_cache else "off",
        "PERSONAMEM_LLM_PRICE_INPUT": settings.llm_price_input,
        "PERSONAMEM_LLM_PRICE_OUTPUT": settings.llm_price_output,
        "PERSONAMEM_LLM_BUDGET_TOKENS": settings.llm_budget_tokens,
        "PERSONAMEM_LLM_BUDGET_DOLLARS": settings.llm_budget_dollars,
        "PERSONAMEM_LLM_BATCH": "on" if settings.llm_batch else "off",
        "PERSONAMEM_LLM_BATCH_POLL_SECONDS": settings.llm_batch_poll_seconds,
        "PERSONAMEM_READER_BASE_URL": settings.reader_base_url if settings.reader_model else None,
        "PERSONAMEM_READER_MODEL": settings.reader_model,
        "PERSONAMEM_READER_PRICE_INPUT": settings.reader_price_input,
        "PERSONAMEM_READER_PRICE_OUTPUT": settings.reader_price_output,
        "PERSONAMEM_EMBEDDING_BASE_URL": settings.embedding_base_url,
        "PERSONAMEM_VLLM_BASE_URL": settings.vllm_base_url,
        "PERSONAMEM_S3_ENDPOINT": settings.s3_endpoint,
    }
    return {name: str(value) for name, value in values.items() if value is not None}
