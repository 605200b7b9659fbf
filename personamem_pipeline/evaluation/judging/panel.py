"""The panel: one to three judges, each a rubric at an endpoint, and the score that they give together.

It fails closed. A refusal, nonsense or a score out of range is no verdict: the judgement's score is None with the reason,
and so is the answer's, which then counts as missing and is bounded in reports. That is the judge's failure. Where the
*system* failed (no reply, or nothing in it that a user would read) there is nothing to judge and nothing is missing: the
score is 0, every judgement says why, and no judge is asked. A panel is not lenient to silence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

from personamem_pipeline.errors import Refused, UserError
from personamem_pipeline.evaluation.judging.briefs import Brief, Evidence, brief
from personamem_pipeline.evaluation.judging.prompts import RUBRICS, Decided, Graded, Rubric
from personamem_pipeline.evaluation.records import Judgement, OpenAnswer
from personamem_pipeline.llm.client import Endpoint, Prompt, Usage
from personamem_pipeline.presets.evaluation import JudgeConfig
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import digest
from personamem_pipeline.settings import EndpointOptions, Settings, load_settings

Tell = Callable[[str, int, int], None]
"""(judge, done, all), after each verdict."""
NOTHING_TO_JUDGE = "the system gave no answer"


class PanelJudge(Protocol):
    """One judge."""

    @property
    def name(self) -> str:
        """`model/prompt`, e.g. `simulator/1/serves`."""
        ...

    def judgements(self, briefs: Sequence[Brief], tell: Tell | None = None) -> list[Judgement]:
        """One per brief, in order; score None with the reason where there is no verdict."""
        ...


@dataclass(frozen=True)
class RubricJudge:
    """A model at an endpoint with one of our rubrics. Equal briefs are asked once."""

    endpoint: Endpoint
    rubric: Rubric
    seed: int

    @property
    def name(self) -> str:
        return f"{self.endpoint.model}/{self.rubric.name}"

    def judgements(self, briefs: Sequence[Brief], tell: Tell | None = None) -> list[Judgement]:
        texts = [json.dumps(item) for item in briefs]  # fields in another order are another request
        prompts = {text: self._prompt(item) for text, item in zip(texts, briefs, strict=True)}
        progress = (lambda done, total: tell(self.name, done, total)) if tell else None
        replies = dict(zip(prompts, self.endpoint.map(list(prompts.values()), progress), strict=True))
        return [self._judgement(replies[text]) for text in texts]

    def _prompt(self, item: Brief) -> Prompt[Graded | Decided]:
        rubric = self.rubric
        return Prompt(rubric.task, rubric.instructions, item, rubric.response, digest(item)[:16], self.seed)

    def _judgement(self, reply: Graded | Decided | Refused) -> Judgement:
        if isinstance(reply, Refused):
            return Judgement(judge=self.name, score=None, reason=f"no verdict: {reply.args[-1]}")
        return Judgement(judge=self.name, score=reply.score, reason=reply.reason)


@dataclass(frozen=True)
class Panel:
    """All judges of an evaluation. `usage` is what they asked together, and `author` who paraphrases for the audit."""

    judges: tuple[PanelJudge, ...]
    seed: int
    author: Endpoint | None = None
    """None: nobody can paraphrase."""
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise UserError(
                f"two judges of the panel are {twice[0]}",
                where="evaluation.judges",
                expected="different models or different prompts",
                remedy="remove one: agreement of a judge with itself says nothing",
            )

    @classmethod
    def configured(cls, judges: Iterable[JudgeConfig], seed: int, settings: Settings | None = None) -> Panel:
        """The panel of a preset at the endpoints of the settings (by default, of the environment).

        Both endpoints share one count, which the settings' budgets bound. Raises `UserError` for a judge at the second
        reader's endpoint where the settings name none, and for the same judge twice.
        """
        settings = settings or load_settings()
        wanted, usage = tuple(judges), Usage()
        author = _author(settings, usage)
        second = _reader(settings, usage) if any(judge.endpoint == "reader" for judge in wanted) else author
        found = tuple(
            RubricJudge(author if judge.endpoint == "author" else second, RUBRICS[judge.prompt], seed)
            for judge in wanted
        )
        return cls(found, seed, author, usage)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(judge.name for judge in self.judges)

    def judge(
        self,
        answers: Sequence[OpenAnswer],
        questions: Iterable[Question],
        evidence: Evidence,
        tell: Tell | None = None,
    ) -> list[OpenAnswer]:
        """The same answers, in order, with the panel's judgements and their mean.

        What was judged before is judged anew (at an endpoint with a cache that costs nothing), so another panel rescores
        stored answers. Raises KeyError for an answer whose question or evidence is not among those given.
        """
        by_id = {question.question_id: question for question in questions}
        judged = [answer for answer in answers if answered(answer)]
        briefs = [brief(by_id[a.question_id], evidence[a.question_id], a.answer) for a in judged]
        columns = self.judgements(briefs, tell)
        given = iter(zip(*columns, strict=True))
        return [_scored(answer, next(given) if answered(answer) else self._silence(answer)) for answer in answers]

    def judgements(self, briefs: Sequence[Brief], tell: Tell | None = None) -> list[list[Judgement]]:
        """Per judge, one judgement a brief."""
        return [judge.judgements(briefs, tell) for judge in self.judges]

    def _silence(self, answer: OpenAnswer) -> tuple[Judgement, ...]:
        why = answer.problem or "nothing that a user would read"
        reason = f"{NOTHING_TO_JUDGE}: {why}"
        return tuple(Judgement(judge=name, score=0.0, reason=reason) for name in self.names)


def answered(answer: OpenAnswer) -> bool:
    """Whether the system said anything that can be judged."""
    return not answer.problem and bool(answer.answer.strip())


def mean_score(judgements: Sequence[Judgement]) -> float | None:
    """Over the panel; None unless every judge gave a verdict: a mean over whoever replied would depend on who did."""
    scores = [judgement.score for judgement in judgements]
    given = [score for score in scores if score is not None]
    return fmean(given) if given and len(given) == len(scores) else None


def _scored(answer: OpenAnswer, judgements: Sequence[Judgement]) -> OpenAnswer:
    return answer.model_copy(update={"judgements": tuple(judgements), "score": mean_score(judgements)})


def _author(settings: Settings, usage: Usage) -> Endpoint:
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    return Endpoint(settings.llm_base_url, settings.llm_model, key, ledger=usage, **settings.llm_options)


def _reader(settings: Settings, usage: Usage) -> Endpoint:
    if settings.reader_model is None:
        raise UserError(
            "a judge of the panel is the second reader's model, and the settings name none",
            where="evaluation.judges",
            expected="PERSONAMEM_READER_MODEL, and PERSONAMEM_READER_BASE_URL where it has another address",
            remedy="export PERSONAMEM_READER_MODEL=..., or let the author judge: `endpoint: author`",
        )
    key = settings.reader_api_key.get_secret_value() if settings.reader_api_key else None
    priced = EndpointOptions(price_input=settings.reader_price_input, price_output=settings.reader_price_output)
    options: EndpointOptions = {**settings.llm_options, **priced}
    return Endpoint(
        settings.reader_base_url, settings.reader_model, key, ledger=usage, variables="PERSONAMEM_READER", **options
    )
