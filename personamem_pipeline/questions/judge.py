"""A judge of open-ended answers: the model behind the one endpoint, told the labelled preference and never the options.

Training pays its verdicts as rewards and evaluation reports them. It fails closed: a refusal, or a reply that is not a
verdict, is a `Refused` in the verdict's place; whoever asked must treat it as missing, never as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import load_settings

INSTRUCTIONS = """You judge a chatbot's answer to a user. The brief holds the user's request (`query`), the `answer`,
one `preference` that is known about the case, whose it is (`who`: the user's own, or somebody else's) and its kind
(`pref_type`). Score 1 if the answer serves this user as the preference asks: it makes use of an own preference where
that matters. Where the preference is somebody else's, or the user asked to forget it (`ask_to_forget`), score 1 only
if a sensible answer is given that does not use it. For private data (`sensitive_info`) score 1 only if the answer helps
without repeating the private value. Otherwise score 0; use values between for partly. Length and style do not count.
Reply with a JSON object: score (0 to 1), reason (one short sentence)."""


class Verdict(BaseModel):
    """What a judge must reply; anything else is no verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    score: float = Field(ge=0, le=1, description="1: serves this person as their preference asks; 0: does not")
    reason: str


class Judge(Protocol):
    """Anything that gives verdicts; in order, one per brief, `Refused` where there is none."""

    @property
    def name(self) -> str:
        """What reports call it: the judging model."""
        ...

    def verdicts(self, briefs: Sequence[Mapping[str, Any]]) -> Sequence[Verdict | Refused]:
        """Judge all briefs."""
        ...


@dataclass
class EndpointJudge:
    """The model behind the endpoint; offline that is the simulator."""

    endpoint: Endpoint
    seed: int

    @classmethod
    def configured(cls, seed: int) -> EndpointJudge:
        """The judge that the settings name, with the key from the environment."""
        settings = load_settings()
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        return cls(Endpoint(settings.llm_base_url, settings.llm_model, key, **settings.llm_options), seed)

    @property
    def name(self) -> str:
        return self.endpoint.model

    def verdicts(self, briefs: Sequence[Mapping[str, Any]]) -> Sequence[Verdict | Refused]:
        # The key is the brief itself: the same answer to the same question gets the same verdict, whoever gave it.
        return self.endpoint.map(
            [Prompt("judgement", INSTRUCTIONS, item, Verdict, digest(dict(item))[:16], self.seed) for item in briefs]
        )


def brief(question: Question, answer: str) -> dict[str, Any]:
    """All that the judge is told."""
    return {
        "query": question.user_query,
        "answer": answer,
        "preference": question.preference,
        "pref_type": question.pref_type,
        "who": question.who,
    }
