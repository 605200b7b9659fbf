"""The typed rows that every stage shares.

All records are frozen pydantic models: what a stage wrote, no later stage changes. They say what a row *is*; how it is
stored is `store.py`, how it is made is the stage's own room. The field names follow PersonaMem-v2 (arXiv 2512.06688)
where it has a name for the thing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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

Event = Literal["reveals", "updates", "forgets", "small_talk", "padding"]
"""`padding`: a dialogue from a pool that has nothing to do with the person, put in to reach a length."""

DistractorKind = Literal[
    "other", "stereotypical", "generic", "previous", "forgotten", "others", "leak", "wrong", "helpless"
]
"""What a wrong option does: serves another taste, a stereotype of the user's groups, nobody in particular, the superseded
state, what was to be forgotten, somebody else's taste; for private data: leaks it, uses a wrong value, does not help."""


class Record(BaseModel):
    """Base of all rows: immutable, and no field that we do not know is let in silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PersonaSeed(Record):
    """One line of a seeds file (PersonaHub's format): a sentence from which a person is written."""

    person_id: str
    split: Split
    persona: Annotated[str, Field(min_length=1)]
    attributes: dict[str, str] = {}
    """Demographics drawn from the tables (`personas.seeds`); where the sentence says otherwise, the sentence wins."""


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
    attributes: dict[str, str] = {}
    """The seed's; what the balance of a dataset is measured by."""
    name: str
    profile: dict[str, str]
    """Flat public profile, the fields of `personas.write.Profile`; `speaking_style` is how the person talks to a chatbot."""
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
    """ISO 8601 date and time, e.g. `2025-03-01T18:40`; sessions of a history are in time order."""
    conversation_type: ConversationType
    event: Event
    preference: Preference | None
    """What the session reveals, updates (the new one) or asks to forget; None for small talk and padding."""
    wording: Wording
    repeat: int = 0
    """Which asking this is of a knowledge query that comes back (PersonaMem-v2's `idx_repeat`); 0 is the first."""
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
    gpt4o_tokens: int = 0
    """The same contents counted with gpt-4o's tokenizer (o200k_base), by which PersonaMem-v2 gives its lengths."""
    padding_tokens: int = 0
    """How many of `tokens` are padding."""
    profile: str = ""
    """The public profile as the system message that opens the chat; empty unless the preset asks for it."""

    @property
    def messages(self) -> tuple[Message, ...]:
        turns = tuple(message for session in self.sessions for message in session.messages)
        if not self.profile:
            return turns
        return (Message(turn_id=f"{self.person_id}.profile", role="system", content=self.profile), *turns)


class Certificate(Record):
    """Measured evidence that a question tests memory. A question is admitted only when every bound holds.

    Accuracies are shares of option orders in which the reader picked the right option (chance is 0.25); a reader that
    gave no usable answer counts as right where the bound is an upper one and as wrong where it is a lower one.
    """

    readers: tuple[str, ...]
    """The models that read; the first also wrote the oracle's, the swapped and the single-turn answers."""
    blind_accuracy: float
    """Without any history; the worst (highest) over the readers."""
    blind_by_reader: tuple[float, ...]
    """The same for each of `readers`."""
    oracle_accuracy: float
    """From the evidence turns alone."""
    update_accuracy: float | None
    """For updated rows: from the updating session's evidence alone, which must entail the change. None elsewhere."""
    swapped_accuracy: float
    """From other evidence: another person's; for a forgotten preference the same evidence without the request."""
    query_leak: bool
    """The query gives the preference away: it names it, or a reader of the query alone could state it."""
    implicitness: float
    """Share of the turns that should only hint from which a reader could not quote the preference; 1 when there are none."""
    longest_guess: float
    """What picking the longest option (characters) scores: 1 over the number of ties when the right one is among them."""
    shortest_guess: float
    """What picking the shortest option scores."""
    admitted: bool
    reasons: tuple[str, ...]
    """Why it was refused, each `code: explanation`; empty when admitted."""


class Question(Record):
    """A question whose best answer depends on what the history gave away. One row serves both forms: with its four
    options it is multiple choice, without them it is open-ended with `correct_answer` as an example."""

    question_id: str
    person_id: str
    split: Split
    user_query: str
    correct_answer: str
    incorrect_answers: tuple[str, str, str]
    incorrect_kinds: tuple[DistractorKind, DistractorKind, DistractorKind]
    """What each of `incorrect_answers` does."""
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
    """The turns of all sessions that the answer rests on, in time order."""
    author: str
    certificate: Certificate

    @property
    def options(self) -> tuple[str, str, str, str]:
        """The four options in storage order, the right one first. Readers must shuffle them (`questions.options`)."""
        first, second, third = self.incorrect_answers
        return (self.correct_answer, first, second, third)


CONTENT_LIMIT = 2000
"""Characters of what was rejected that are kept."""


class Rejection(Record):
    """A row that was planned or written and did not pass: rows in = rows out + rejections."""

    row_id: str
    person_id: str
    reason: str
    """`code: explanation`; the funnel counts the codes."""
    content: Annotated[str, AfterValidator(lambda text: text[:CONTENT_LIMIT])] = ""
    """What came back instead, cut to `CONTENT_LIMIT` characters; empty when nothing did."""
