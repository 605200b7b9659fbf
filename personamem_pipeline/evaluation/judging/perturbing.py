"""The same answer put otherwise: what a steady judge must not mind.

    longer      a friendly sentence at the end that says nothing
    fields      the brief's fields in reverse order; the answer is untouched
    sentences   the answer's own sentences in reverse order; only where it has several
    paraphrase  the same in other words, by the author's endpoint

The first two leave the meaning alone by construction. Reversed sentences may now and then spoil an answer that builds up,
so that rate is an upper bound of the judge's share. A paraphrase is checked before it is used (`faithful`): one that
loses or adds words of the labelled preference is another answer, and a judge who minds that is right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from personamem_pipeline.errors import Refused
from personamem_pipeline.evaluation.judging.briefs import Brief
from personamem_pipeline.evaluation.judging.prompts import PARAPHRASE, Reworded
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.seeds import digest, rng

NEUTRAL = (
    "I hope this helps, and do let me know how it goes.",
    "If anything remains unclear, just ask and we can go through it together.",
    "There is no hurry, so take all the time that this needs.",
)
"""They name nothing, advise nothing and promise nothing."""
LONGEST, SLACK = 2.0, 20
"""Times the length that a paraphrase may have (or the inverse of it), which would measure length once more; so many
characters are added to both, because a few words more say nothing of a short answer."""
_SMALL_WORDS = frozenset(("and", "are", "but", "for", "her", "his", "not", "the", "their", "with"))
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def longer(brief: Brief, seed: int) -> Brief:
    """With a neutral sentence at the end, drawn by the seed and the case."""
    sentence = rng(seed, "longer answer", digest(brief)).choice(NEUTRAL)
    answer = str(brief["answer"]).rstrip()
    return {**brief, "answer": f"{answer}{'' if answer[-1:] in '.!?' else '.'} {sentence}"}


def fields(brief: Brief) -> Brief:
    """The same brief, read from its other end."""
    return dict(reversed(brief.items()))


def sentences(brief: Brief) -> Brief | None:
    """With the answer's sentences in reverse order; None where there are not two different ones."""
    parts = _SENTENCE_END.split(str(brief["answer"]).strip())
    turned = " ".join(reversed(parts))
    return None if turned == " ".join(parts) else {**brief, "answer": turned}


def paraphrases(briefs: Sequence[Brief], author: Endpoint, seed: int) -> list[Brief | None]:
    """With the answer in other words; None where the endpoint refused, or its paraphrase is not `faithful`."""
    prompts = [Prompt("paraphrase", PARAPHRASE, _wanted(item), Reworded, digest(item)[:16], seed) for item in briefs]
    replies = author.map(prompts)
    return [
        None if isinstance(reply, Refused) or not faithful(item, reply.text) else {**item, "answer": reply.text}
        for item, reply in zip(briefs, replies, strict=True)
    ]


def faithful(brief: Brief, text: str) -> bool:
    """Whether a paraphrase says neither more nor less of the preference (and of the one before) than the answer did, is
    of about the same length, and differs at all.

    What is compared are the labels' own words: whole labels, and their content words. Whether the rest still means the
    same is up to the author, who is told so.
    """
    old, new = _folded(str(brief["answer"])), _folded(text)
    if old == new or not 1 / LONGEST <= (len(new) + SLACK) / (len(old) + SLACK) <= LONGEST:
        return False
    labels = _labels(brief)
    same_labels = all((label in old) == (label in new) for label in labels)
    words = {word for label in labels for word in _content(label)}
    return same_labels and words & _content(old) == words & _content(new)


def _wanted(brief: Brief) -> Mapping[str, object]:
    text = _folded(str(brief["answer"]))
    labels = [label for label in _labels(brief) if label in text]
    words = {word for label in _labels(brief) for word in _content(label)} & _content(text)
    return {"text": brief["answer"], "keep": [*labels, *sorted(words)]}


def _labels(brief: Brief) -> list[str]:
    return [label for name in ("preference", "previous") if (label := _folded(str(brief[name])))]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _content(text: str) -> set[str]:
    return {word for word in re.findall(r"\w{3,}|\d+", text) if word not in _SMALL_WORDS}
