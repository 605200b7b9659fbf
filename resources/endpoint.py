"""The model endpoint that writes personas, conversations and questions, and the readers that certify these."""

from __future__ import annotations

import dagster as dg
from pydantic import Field, PrivateAttr, SecretStr

from personamem_pipeline.llm.client import Endpoint, Usage
from personamem_pipeline.settings import EndpointOptions, Settings, Structured, load_settings


class EndpointResource(dg.ConfigurableResource):
    """An OpenAI-compatible chat endpoint; without `base_url` the built-in simulator answers in this process.

    Keys are no fields: Dagster stores and shows resource configuration. They are read from the environment at use.
    """

    base_url: str | None = None
    model: str
    concurrency: int | None = Field(default=None, gt=0, description="most requests in flight")
    timeout: float = Field(default=600.0, gt=0, description="seconds for one request")
    max_tokens: int = Field(default=8192, gt=0, description="of one reply")
    structured: Structured = "auto"
    cache: str | None = Field(default=None, description="file of the response cache; none: no cache")
    price_input: float | None = Field(default=None, ge=0, description="dollars per million tokens")
    price_output: float | None = Field(default=None, ge=0, description="dollars per million tokens")
    budget_tokens: int | None = Field(default=None, ge=0)
    budget_dollars: float | None = Field(default=None, ge=0)
    batch: bool = Field(default=False, description="through the Batch API")
    batch_poll_seconds: float = Field(default=30.0, gt=0)
    reader_base_url: str | None = None
    reader_model: str | None = Field(default=None, description="a second model that certificates are measured with")
    reader_price_input: float | None = Field(default=None, ge=0)
    reader_price_output: float | None = Field(default=None, ge=0)

    _ledger: Usage = PrivateAttr(default_factory=Usage)
    """What all endpoints of a run have asked together: the budgets bound it."""

    @classmethod
    def configured(cls, settings: Settings) -> EndpointResource:
        """The endpoint and the readers that the settings name."""
        second = settings.readers[1:]
        return cls(
            base_url=settings.llm_base_url,
            model=settings.llm_model,
            **settings.llm_options,
            reader_base_url=settings.reader_base_url,
            reader_model=second[0] if second else None,
            reader_price_input=settings.reader_price_input,
            reader_price_output=settings.reader_price_output,
        )

    def open(self) -> Endpoint:
        """A fresh endpoint, whose `usage` starts at zero; the budgets go on from what the run has spent."""
        key = load_settings().llm_api_key
        return Endpoint(self.base_url, self.model, _plain(key), ledger=self._ledger, **self._options())

    def open_second_reader(self) -> Endpoint | None:
        """The second model that certifies, beside the author's; None where there is none."""
        if self.reader_model is None:
            return None
        priced = EndpointOptions(price_input=self.reader_price_input, price_output=self.reader_price_output)
        options: EndpointOptions = {**self._options(), **priced}
        return Endpoint(
            self.reader_base_url,
            self.reader_model,
            _plain(load_settings().reader_api_key),
            ledger=self._ledger,
            variables="PERSONAMEM_READER",
            **options,
        )

    def _options(self) -> EndpointOptions:
        return {
            "concurrency": self.concurrency,
            "timeout": self.timeout,
            "max_tokens": self.max_tokens,
            "structured": self.structured,
            "cache": self.cache,
            "price_input": self.price_input,
            "price_output": self.price_output,
            "budget_tokens": self.budget_tokens,
            "budget_dollars": self.budget_dollars,
            "batch": self.batch,
            "batch_poll_seconds": self.batch_poll_seconds,
        }


def _plain(key: SecretStr | None) -> str | None:
    return key.get_secret_value() if key else None
