"""The typed rows that every stage shares.

All records are frozen pydantic models: what a stage wrote, no later stage changes. They say what a row *is*; how it is
stored is `store.py`, how it is made is the stage's own room. The field names follow PersonaMem-v2 (arXiv 2512.06688)
where it has a name for the thing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PreferenceType = Literal[
    "stereotypical_pref",
    "anti_stereotypical_pref",
    "neutral_preferences",
    "therapy_background",
    "health_and_medical_conditions",
    "sensitive_info",
]
"""What kind of preference it is. `ask_to_forget` is a question type: any preference may be asked to be forgotten."""

QuestionType = Literal[
    "stereotypical_pref",
    "anti_stereotypical_pref",
    "neutral_preferences",
    "therapy_background",
    "health_and_medical_conditions",
    "sensitive_info",
    "ask_to_forget",
]

ConversationType = Literal[
    "personal_email",
    "professional_email",
    "creative_writing",
    "professional_writing",
    "chat_message",
    "social_media_post",
    "translation",
    "trouble_consult",
    "knowledge_query",
]
CONVERSATION_TYPES: tuple[ConversationType, ...] = ConversationType.__args__  # type: ignore[attr-defined]
QUESTION_TYPES: tuple[QuestionType, ...] = QuestionType.__args__  # type: ignore[attr-defined]

Split = Literal["training", "benchmark"]
Who = Literal["self", "others"]
Wording = Literal["seen", "unseen"]
"""`unseen`: the evidence uses words that occur in no training row; reports show these questions apart."""

Event = Literal["reveals", "updates", "forgets", "small_talk"]


class Record(BaseModel):
    """Base of all rows: immutable, and no field that we do not know is let in silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PersonaSeed(Record):
    """One line of a seeds file (PersonaHub's format): a sentence from which a person is written."""

    person_id: str
    split: Split
    persona: Annotated[str, Field(min_length=1)]


class Preference(Record):
    """Something that is true of a person (or, `who == "others"`, of somebody near them)."""

    preference_id: str
    topic: str
    text: str
    pref_type: PreferenceType
    who: Who = "self"
    replaces: str | None = None
    """The preference_id that this one supersedes; the person changed."""
    forgotten: bool = False
    """The person later asks the assistant to forget it."""


class Persona(Record):
    """A simulated user: a public profile, and preferences that are only ever revealed indirectly."""

    person_id: str
    split: Split
    seed_persona: str
    name: str
    profile: dict[str, str]
    """Flat public profile; `speaking_style` is how the person talks to a chatbot."""
    preferences: tuple[Preference, ...]
    author: str
    """Which model wrote the row, e.g. `simulator/1` or an endpoint's model name."""


class Message(Record):
    """One turn of a chat. `turn_id` is unique within a person's history; evidence points to it."""

    turn_id: str
    role: Literal["user", "assistant", "system"]
    content: str


class Session(Record):
    """One sitting: a conversation of one type at one time, with what it gives away."""

    session_id: str
    person_id: str
    time: str
    """ISO 8601 date; sessions of a history are in time order."""
    conversation_type: ConversationType
    event: Event
    preference: Preference | None
    """What the session reveals, updates (the new one) or asks to forget; None for small talk."""
    wording: Wording
    messages: tuple[Message, ...]
    evidence: tuple[str, ...]
    """The turn ids that carry the event; what a reader must see to know it."""
    author: str

    @property
    def preference_id(self) -> str | None:
        """Id of what the session is about."""
        return self.preference.preference_id if self.preference else None


class History(Record):
    """Everything one person said to the assistant, in time order, within a token budget."""

    person_id: str
    split: Split
    sessions: tuple[Session, ...]
    tokens: int
    """Tokens of all message contents, counted with `tokenizer`."""
    tokenizer: str

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(message for session in self.sessions for message in session.messages)


class Certificate(Record):
    """Measured evidence that a question tests memory. A question is admitted only when every bound holds."""

    blind_accuracy: float
    """Share of option orders in which a reader with no history picks the right option (chance is 0.25)."""
    oracle_accuracy: float
    """Share of option orders in which a reader of the evidence turns alone picks the right option."""
    query_leak: bool
    """The question or the evidence names the preference outright."""
    length_rank: int
    """0: the right option is the uniquely shortest; 3: the uniquely longest; 1: neither."""
    reader: str
    admitted: bool
    reasons: tuple[str, ...]
    """Why it was refused; empty when admitted."""


class Question(Record):
    """A question whose best answer depends on what the history gave away. One row serves both forms: with its four
    options it is multiple choice, without them it is open-ended with `correct_answer` as an example."""

    question_id: str
    person_id: str
    split: Split
    user_query: str
    correct_answer: str
    incorrect_answers: tuple[str, str, str]
    topic: str
    preference: str
    preference_id: str
    pref_type: QuestionType
    who: Who
    updated: bool
    prev_pref: str
    """The superseded or forgotten preference's text; empty when there is none."""
    conversation_scenario: ConversationType
    wording: Wording
    evidence: tuple[str, ...]
    author: str
    certificate: Certificate

    @property
    def options(self) -> tuple[str, str, str, str]:
        """The four options in storage order, the right one first. Readers must shuffle them (`questions.options`)."""
        first, second, third = self.incorrect_answers
        return (self.correct_answer, first, second, third)
