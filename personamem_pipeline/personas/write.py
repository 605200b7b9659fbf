"""Writing persons: what each shall have is planned here by seeded draws; the endpoint fills it with life.

The plan, not the author, decides which types occur, what changes and what is to be forgotten, so that the balance of a
dataset does not depend on a model's moods. What comes back is checked; a person that fails is rejected with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import BaseModel, Field

from personamem_pipeline.errors import Refused
from personamem_pipeline.llm.client import Endpoint, Prompt
from personamem_pipeline.presets import PersonasConfig
from personamem_pipeline.records import Persona, PersonaSeed, Preference, PreferenceType, Who
from personamem_pipeline.seeds import rng

TASTES: tuple[PreferenceType, ...] = ("stereotypical_pref", "anti_stereotypical_pref", "neutral_preferences")
BACKGROUNDS: tuple[PreferenceType, ...] = ("therapy_background", "health_and_medical_conditions")

INSTRUCTIONS = """You write one fictional person for a test of long-term memory in chatbots.
The brief gives a seed sentence and the list `wanted`. Reply with a JSON object:
- name: a full name; profile: age, the groups the person belongs to (comma separated), and the style in which the person
  talks to a chatbot. The profile must not mention any of the preferences.
- preferences: exactly one per entry of `wanted`, in that order, each about a different topic: `topic` (a word or two)
  and `text`, a short, specific noun phrase of two to five words. All texts of about the same length.
The types: stereotypical_pref is what most people would expect of somebody of these groups; anti_stereotypical_pref is
the contrary of what they would expect, yet plausible; neutral_preferences have nothing to do with the groups;
therapy_background is something the person once worked through with a therapist; health_and_medical_conditions is a
condition the person lives with; sensitive_info is an invented private value (topic: its kind, e.g. passport number;
text: the value). With who = others it belongs to somebody near the person, not to the person.
Where `updated` is true, `changes_to` is what the person prefers later instead: the same topic and type, a text that
excludes the first one. Elsewhere `changes_to` is empty. No two preferences may contradict each other."""


@dataclass(frozen=True)
class Want:
    """One preference that a person shall have."""

    pref_type: PreferenceType
    who: Who = "self"
    updated: bool = False
    forgotten: bool = False


class Profile(BaseModel):
    """The public profile; plain fields because strict schemas know no free-form objects."""

    age: str
    groups: str
    speaking_style: str


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


def plan_wants(person_id: str, config: PersonasConfig, seed: int) -> list[Want]:
    """What the person shall have: own preferences of evenly drawn types, then somebody else's, then a private item.

    At most one own preference changes and at most one other is to be forgotten. What was worked through in therapy
    does not change; other people's and private items neither change nor are forgotten.
    """
    draw = rng(seed, "persona plan", person_id)
    deck: list[PreferenceType] = []
    wants: list[Want] = []
    while len(wants) < config.self_preferences:
        if not deck:
            deck = list(TASTES if wants else (*TASTES, *BACKGROUNDS))  # one background of a kind is enough
            draw.shuffle(deck)
        wants.append(Want(deck.pop()))
    changeable = [index for index, want in enumerate(wants) if want.pref_type != "therapy_background"]
    updates = draw.random() < config.updated_share and bool(changeable)
    updated = draw.choice(changeable) if updates else None
    rest = [index for index in range(len(wants)) if index != updated]
    forgets = draw.random() < config.forgotten_share and bool(rest)
    forgotten = draw.choice(rest) if forgets else None
    wants = [replace(want, updated=index == updated, forgotten=index == forgotten) for index, want in enumerate(wants)]
    if draw.random() < config.others_share:
        wants.append(Want("neutral_preferences", who="others"))
    if draw.random() < config.sensitive_share:
        wants.append(Want("sensitive_info"))
    return wants


def write_personas(
    seeds: Sequence[PersonaSeed],
    config: PersonasConfig,
    endpoint: Endpoint,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Persona], list[tuple[str, str]]]:
    """Persons in the order of their seeds, and (person_id, reason) of those that could not be written."""
    plans = [plan_wants(row.person_id, config, seed) for row in seeds]
    replies = endpoint.map([_prompt(row, plan, seed) for row, plan in zip(seeds, plans, strict=True)], on_progress)
    personas: list[Persona] = []
    rejected: list[tuple[str, str]] = []
    known: dict[tuple[str, ...], str] = {}
    for row, plan, reply in zip(seeds, plans, replies, strict=True):
        if isinstance(reply, Refused):
            rejected.append((row.person_id, str(reply.args[-1])))
            continue
        problem = find_problem(reply, plan)
        if not problem:
            persona = _persona(row, plan, reply, endpoint.model)
            twin = known.setdefault(tuple(sorted(p.text.casefold() for p in persona.preferences)), row.person_id)
            problem = f"the same preferences as {twin}" if twin != row.person_id else ""
        if problem:
            rejected.append((row.person_id, problem))
        else:
            personas.append(persona)
    return personas, rejected


def find_problem(reply: PersonaReply, plan: Sequence[Want]) -> str:
    """Why a reply is not what was planned; empty when it is."""
    if len(reply.preferences) != len(plan):
        return f"{len(reply.preferences)} preferences instead of {len(plan)}"
    for want, item in zip(plan, reply.preferences, strict=True):
        if want.updated != bool(item.changes_to):
            return f"{item.text!r}: {'no' if want.updated else 'an unwanted'} change"
    texts = [text.casefold() for item in reply.preferences for text in (item.text, item.changes_to) if text]
    topics = [item.topic.casefold() for item in reply.preferences]
    for name, values in (("preference", texts), ("topic", topics)):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            return f"duplicate {name}: {', '.join(twice)}"
    return ""


def _prompt(row: PersonaSeed, plan: Sequence[Want], seed: int) -> Prompt[PersonaReply]:
    brief = {"seed_persona": row.persona, "wanted": [asdict(want) for want in plan]}
    return Prompt("persona", INSTRUCTIONS, brief, PersonaReply, row.person_id, seed)


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
        person_id=row.person_id, split=row.split, seed_persona=row.persona, name=reply.name,
        profile=reply.profile.model_dump(), preferences=tuple(preferences), author=author,
    )  # fmt: skip
