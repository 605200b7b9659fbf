"""Long messages: the short sentence that carries something, inside a whole draft that carries nothing else.

A message has about 100 to 250 gpt-4o tokens, as in PersonaMem-v2, whose 32k histories have 233 messages in the mean.
"""

from __future__ import annotations

import random

from personamem_pipeline.llm.simulator import filler_drafts as draft
from personamem_pipeline.llm.simulator import filler_follow_ups as later
from personamem_pipeline.llm.simulator import filler_replies as reply
from personamem_pipeline.llm.simulator.filler import sentences

_BODY = {
    "personal_email": draft.LETTER,
    "professional_email": draft.OFFICE,
    "creative_writing": draft.STORY,
    "professional_writing": draft.OFFICE,
    "chat_message": draft.LETTER,
    "social_media_post": draft.LETTER,
    "translation": draft.LETTER,
    "trouble_consult": draft.WORRY,
    "knowledge_query": draft.INQUIRY,
}
_NOTES = {
    "translation": reply.TRANSLATED,
    "trouble_consult": reply.ADVICE,
    "knowledge_query": reply.ANSWER,
}
"""What the assistant goes on about; the other types are polished."""


def user_turn(core: str, kind: str, edition: str, rng: random.Random) -> str:
    """The user's opening message of a conversation of this type."""
    lead = sentences(draft.LEADS, 1, edition, rng)
    body = sentences(_BODY[kind], rng.randint(7, 10), edition, rng)
    if kind in ("trouble_consult", "knowledge_query"):
        return _paragraphs([*lead, core], body)
    # The sentence with the cue begins the draft, the rest of the draft follows it.
    return _paragraphs(lead, [core, *body], sentences(draft.ASKS, 2, edition, rng))


def assistant_turn(core: str, kind: str, who: str, edition: str, rng: random.Random) -> str:
    """The answer to it: `core` and what an assistant says around it."""
    notes = _NOTES.get(kind, reply.EXPLAINED if who == "others" else reply.POLISH)
    return _paragraphs(
        [core, *sentences(reply.OPENINGS, 1, edition, rng)],
        sentences(notes, rng.randint(7, 10), edition, rng),
        sentences(reply.CLOSINGS, 1, edition, rng),
    )


def follow_up(edition: str, rng: random.Random) -> tuple[str, str]:
    """One more exchange about the same thing."""
    asked = sentences(later.FOLLOW_UPS, rng.randint(4, 6), edition, rng)
    answered = sentences(later.FOLLOW_UP_REPLIES, rng.randint(5, 7), edition, rng)
    return _paragraphs(asked), _paragraphs(answered, sentences(reply.CLOSINGS, 1, edition, rng))


def forget_request(core: str, edition: str, rng: random.Random) -> str:
    """The user's request to forget something, with what people say around it."""
    return _paragraphs([core], sentences(later.FORGET_NOTES, rng.randint(4, 6), edition, rng))


def forget_reply(core: str, edition: str, rng: random.Random) -> str:
    """The assistant's promise."""
    return _paragraphs([core, *sentences(later.FORGET_REPLIES, rng.randint(4, 6), edition, rng)])


def _paragraphs(*paragraphs: list[str]) -> str:
    return "\n\n".join(" ".join(paragraph) for paragraph in paragraphs)
