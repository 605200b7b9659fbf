"""Writing persons: the plan says what each shall have, the endpoint fills it with life, and what comes back is checked.

Every seed becomes a person or a rejection with its reason; preferences that a review removes are rejections besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from pydantic import BaseModel, Field

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.personas.plan import Want, plan_wants
from personamem_pipeline.personas.review import distrust, repeated, review_prompt, without
from personamem_pipeline.personas.texts import mentions, words
from personamem_pipeline.presets import PersonasConfig
from personamem_pipeline.records import Persona, PersonaSeed, Preference, Rejection

INSTRUCTIONS = """You write one fictional person for a test of long-term memory in chatbots.
The brief gives a seed sentence, the list `wanted` and, where the sentence leaves something open, `attributes`: hints at
who the person is. Where a hint contradicts the sentence, the sentence is right. Reply with a JSON object:
- name: a full name.
- profile: what everybody may know. age; groups: the demographic groups the person belongs to, comma separated; gender,
  sexual_orientation, race_ethnicity, nationality, languages, location, education, occupation, family,
  political_affiliation, personality, hobbies, values, technology_use: a few words each, empty where the person would
  leave it open. speaking_style: how the person talks to a chatbot, in one phrase; and of that style the tone, formality,
  pacing, vocabulary and interaction_pattern (how the person asks, follows up and takes leave), a few words each.
  No entry of the profile may mention any of the preferences.
- preferences: exactly one per entry of `wanted`, in that order, each about a different topic: `topic` (a word or two)
  and `text`, a short, specific noun phrase of two to five words. All texts of about the same length.
The types: stereotypical_pref is what most people would expect of somebody of these groups; anti_stereotypical_pref is
the contrary of what they would expect, yet plausible; neutral_preferences have nothing to do with the groups;
therapy_background is something the person once worked through with a therapist; health_and_medical_conditions is a
condition the person lives with; sensitive_info is an invented private value (topic: its kind, e.g. passport number;
text: the value). With who = others it belongs to somebody near the person, not to the person.
Where `updated` is true, `changes_to` is what the person prefers later instead: the same topic and type, a text that
excludes the first one. Elsewhere `changes_to` is empty. No two preferences may say the same or contradict each other."""


class Profile(BaseModel):
    """The public profile: PersonaMem-v2's fields, flat because strict schemas know no free-form objects.

    An empty text says that the person leaves it open. Only the first three always say something.
    """

    age: str = Field(min_length=1)
    groups: str = Field(min_length=1)
    speaking_style: str = Field(min_length=1)
    gender: str
    sexual_orientation: str
    race_ethnicity: str
    nationality: str
    languages: str
    location: str
    education: str
    occupation: str
    family: str
    political_affiliation: str
    personality: str
    hobbies: str
    values: str
    technology_use: str
    tone: str
    formality: str
    pacing: str
    vocabulary: str
    interaction_pattern: str


class WrittenPreference(BaseModel):
    """One preference as the author gives it."""

    topic: str = Field(min_length=1)
    text: str = Field(min_length=1)
    changes_to: str


class PersonaReply(BaseModel):
    """What the endpoint answers to the task `persona`."""

    name: str = Field(min_length=1)
    profile: Profile
    preferences: list[WrittenPreference]


@dataclass
class _Draft:
    """One seed's way through the checks: the person as far as it has come, or why it ends here."""

    row: PersonaSeed
    plan: list[Want]
    content: str = ""
    person: Persona | None = None
    rejection: Rejection | None = None
    removed: list[Rejection] = field(default_factory=list)

    def reject(self, reason: str, content: str) -> None:
        self.person = None
        self.rejection = Rejection(
            row_id=self.row.person_id, person_id=self.row.person_id, reason=reason, content=content
        )


def write_personas(
    seeds: Sequence[PersonaSeed],
    config: PersonasConfig,
    endpoint: Endpoint,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Persona], list[Rejection]]:
    """Persons in the order of their seeds, and what was rejected on the way.

    Every seed is either in the first list or has a rejection whose `row_id` is its person_id. Besides, each preference
    removed from a person that stays has a rejection whose `row_id` is its preference_id.
    """
    drafts = [_Draft(row, plan_wants(row.person_id, config, seed)) for row in seeds]
    steps = len(drafts) * (2 if config.review else 1)
    told = on_progress or (lambda done, of: None)
    replies = endpoint.map([_prompt(draft, seed) for draft in drafts], lambda done, _: told(done, steps))
    for draft, reply in zip(drafts, replies, strict=True):
        _receive(draft, reply, endpoint.model)
    if config.review:
        asked = list(_standing(drafts))
        prompts = [review_prompt(person, seed) for _, person in asked]
        reviews = endpoint.map(prompts, lambda done, of: told(steps - of + done, steps))
        for (draft, person), review in zip(asked, reviews, strict=True):
            if isinstance(review, Refused):
                draft.reject(f"review: {review.args[-1]}", review.content)
            elif problem := distrust(review, person.preferences):
                draft.reject(f"review: {problem}", review.model_dump_json())
            else:
                draft.person, removed = without(person, review.problems)
                draft.removed += removed
    _reject_thin(drafts)
    _reject_twins(drafts)
    rejections: list[Rejection] = []
    for draft in drafts:
        rejections += draft.removed if draft.rejection is None else [draft.rejection]
    return [person for _, person in _standing(drafts)], rejections


def find_problem(reply: PersonaReply, plan: Sequence[Want]) -> str:
    """Why a reply is not what was planned, as `code: explanation`; empty when it is."""
    if len(reply.preferences) != len(plan):
        return f"plan: {len(reply.preferences)} preferences instead of {len(plan)}"
    for want, item in zip(plan, reply.preferences, strict=True):
        if want.updated != bool(item.changes_to):
            return f"plan: {item.text!r}: {'no' if want.updated else 'an unwanted'} change"
        if words(item.changes_to) == words(item.text):
            return f"plan: {item.text!r} changes to itself"
    topics = [item.topic.casefold() for item in reply.preferences]
    if twice := sorted({topic for topic in topics if topics.count(topic) > 1}):
        return f"plan: duplicate topic: {', '.join(twice)}"
    for name, entry in reply.profile:
        for item in reply.preferences:
            if mentions(entry, item.text) or mentions(entry, item.changes_to):
                return f"profile: {name} mentions the preference {item.text!r}"
    return ""


def _prompt(draft: _Draft, seed: int) -> Prompt[PersonaReply]:
    row = draft.row
    brief: dict[str, object] = {"seed_persona": row.persona, "wanted": [asdict(want) for want in draft.plan]}
    if not all(mentions(row.persona, value) for value in row.attributes.values()):
        brief["attributes"] = row.attributes
    return Prompt("persona", INSTRUCTIONS, brief, PersonaReply, row.person_id, seed)


def _receive(draft: _Draft, reply: PersonaReply | Refused, author: str) -> None:
    if isinstance(reply, Refused):
        draft.reject(str(reply.args[-1]), reply.content)
        return
    draft.content = reply.model_dump_json()
    if problem := find_problem(reply, draft.plan):
        draft.reject(problem, draft.content)
        return
    person = _persona(draft.row, draft.plan, reply, author)
    draft.person, draft.removed = without(person, repeated(person.preferences))


def _standing(drafts: Sequence[_Draft]) -> Iterator[tuple[_Draft, Persona]]:
    return ((draft, draft.person) for draft in drafts if draft.person is not None)


def _reject_thin(drafts: Sequence[_Draft]) -> None:
    """Who has lost more than half of what was planned is not the person that was planned."""
    for draft, person in list(_standing(drafts)):
        left = sum(item.replaces is None for item in person.preferences)
        if 2 * left < len(draft.plan):
            reasons = "; ".join(f"{item.row_id} {item.reason}" for item in draft.removed)
            draft.reject(f"too_few: {left} of {len(draft.plan)} preferences left: {reasons}", draft.content)


def _reject_twins(drafts: Sequence[_Draft]) -> None:
    """Two persons with the same preferences would be one person in both splits."""
    known: dict[tuple[str, ...], str] = {}
    for draft, person in list(_standing(drafts)):
        twin = known.setdefault(tuple(sorted(p.text.casefold() for p in person.preferences)), person.person_id)
        if twin != person.person_id:
            draft.reject(f"twin: the same preferences as {twin}", draft.content)


def _persona(row: PersonaSeed, plan: Sequence[Want], reply: PersonaReply, author: str) -> Persona:
    preferences: list[Preference] = []

    def add(topic: str, text: str, want: Want, replaces: str | None = None) -> str:
        preference_id = f"{row.person_id}.p{len(preferences)}"
        forgotten = want.forgotten and replaces is None
        preferences.append(
            Preference(
                preference_id=preference_id, topic=topic, text=text, pref_type=want.pref_type, who=want.who,
                replaces=replaces, forgotten=forgotten,
            )
        )  # fmt: skip
        return preference_id

    for want, item in zip(plan, reply.preferences, strict=True):
        first = add(item.topic, item.text, want)
        if want.updated:
            add(item.topic, item.changes_to, want, replaces=first)
    return Persona(
        person_id=row.person_id, split=row.split, seed_persona=row.persona, attributes=row.attributes, name=reply.name,
        profile=reply.profile.model_dump(), preferences=tuple(preferences), author=author,
    )  # fmt: skip
