"""The model endpoint that writes personas, conversations and questions."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.settings import load_settings


class EndpointResource(dg.ConfigurableResource):
    """An OpenAI-compatible chat endpoint; without `base_url` the built-in simulator answers in this process.

    The key is no field: Dagster stores and shows resource configuration. It is read from the environment at use.
    """

    base_url: str | None = None
    model: str
    concurrency: int = Field(default=16, gt=0, description="requests in flight")

    def open(self) -> Endpoint:
        """A fresh endpoint, whose `usage` starts at zero."""
        key = load_settings().llm_api_key
        return Endpoint(
            base_url=self.base_url,
            model=self.model,
            api_key=key.get_secret_value() if key else None,
            concurrency=self.concurrency,
        )
