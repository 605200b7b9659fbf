"""The released rows as our records, stage by stage, so that the same assets train and evaluate on them.

What the released files do not say is not made up to look as if they did:

- They have no sessions. A located snippet is a session with its evidence; what stands between two is one of small talk.
- They have no times. A session's time is its place in the file, as minutes counted from 1970-01-01T00:00.
- They do not say what each wrong option does: every `incorrect_kinds` is `other`.
- Nobody certified them by our bounds: they carry `RELEASED`, which fails every bound and is admitted all the same.
- A forget row does not say of which kind the forgotten preference was, unless another row has it: `neutral_preferences`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from personamem_pipeline.conversations.counting import count_gpt4o
from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released_checks import forgotten, owner, question_type, row_flaws, scenario
from personamem_pipeline.questions.released_people import TOKENIZER, Person, open_files, person_id
from personamem_pipeline.questions.released_preferences import PersonPreferences, flat_profile
from personamem_pipeline.questions.released_rows import ReleasedRow
from personamem_pipeline.questions.released_sessions import AUTHOR, sessions_of
from personamem_pipeline.questions.shape import guess_score, longest, shortest
from personamem_pipeline.records import (
    Certificate,
    History,
    Persona,
    PersonaSeed,
    Preference,
    Question,
    Rejection,
    Session,
)

RELEASED = Certificate(
    readers=("released, not certified",), blind_accuracy=1.0, blind_by_reader=(1.0,), oracle_accuracy=0.0,
    update_accuracy=0.0, swapped_accuracy=1.0, query_leak=True, implicitness=0.0, longest_guess=1.0, shortest_guess=1.0,
    admitted=True, reasons=(),
)  # fmt: skip
"""The certificate of released rows: nothing was measured, so every figure is the worst there is and fails every bound.
They are admitted because people want the published rows, all of them. Only the two length guesses are measured, per row."""


def released_seeds(config: ReleasedConfig) -> list[PersonaSeed]:
    """The persons of the released files in the order of their numbers. With `config.strict`, `UserError` for any flaw.

    A person without a row that can be read has no seed; `released_strays` and `released_questions` reject their rows.
    """
    if config.strict:
        from personamem_pipeline.questions.released_inspect import inspect_released

        inspect_released(config).refuse()
    files = open_files(config)
    people = (files.person(person_id(number)) for number in files.numbers())
    return [
        PersonaSeed(person_id=person.person_id, split=person.split, persona=_sentence(person))
        for person in people
        if person.rows
    ]


def released_strays(config: ReleasedConfig) -> list[Rejection]:
    """What belongs to no shard: records whose person cannot be told, and all rows of persons of whom none can be read."""
    files = open_files(config)
    people = (files.person(person_id(number)) for number in files.numbers())
    return [*files.strays(), *(rejection for person in people if not person.rows for rejection in person.rejected)]


def released_personas(config: ReleasedConfig, person_ids: Sequence[str]) -> tuple[list[Persona], list[Rejection]]:
    """Persons with the flattened profile, and the preferences that their rows name."""
    personas: list[Persona] = []
    rejected: list[Rejection] = []
    for person in _people(config, person_ids):
        if not person.rows:
            rejected.append(_rejected(person))
            continue
        profile = dict(flat_profile(person.rows[0][1].expanded_persona))
        personas.append(
            Persona(
                person_id=person.person_id, split=person.split, seed_persona=_sentence(person),
                name=profile.pop("name", ""), profile=profile, preferences=tuple(PersonPreferences(person).all),
                author=AUTHOR,
            )
        )  # fmt: skip
    return personas, rejected


def released_sessions(config: ReleasedConfig, person_ids: Sequence[str]) -> tuple[list[Session], list[Rejection]]:
    """Each person's history cut into sessions; a person whose history cannot be read is rejected."""
    sessions: list[Session] = []
    rejected: list[Rejection] = []
    for person in _people(config, person_ids):
        if person.problem:
            rejected.append(_rejected(person))
        else:
            sessions += sessions_of(person)
    return sessions, rejected


def released_histories(
    config: ReleasedConfig, person_ids: Sequence[str], *, profile_message: bool = False
) -> list[History]:
    """The histories of the persons that have a readable one, counted anew with gpt-4o's tokenizer."""
    histories: list[History] = []
    for person in _people(config, person_ids):
        if person.problem:
            continue  # rejected by `released_sessions`
        profile = person.history.profile if profile_message else ""
        tokens = sum(count_gpt4o([profile, *(message.content for message in person.messages)]))
        row = person.rows[0][1]
        padding = (
            row.num_persona_irrelevant_tokens_32k if config.size == "32k" else row.num_persona_irrelevant_tokens_128k
        )
        histories.append(
            History(
                person_id=person.person_id, split=person.split, sessions=tuple(sessions_of(person)), tokens=tokens,
                tokenizer=TOKENIZER, gpt4o_tokens=tokens, padding_tokens=padding or 0, profile=profile,
            )
        )  # fmt: skip
    return histories


def released_questions(config: ReleasedConfig, person_ids: Sequence[str]) -> tuple[list[Question], list[Rejection]]:
    """One question or one rejection for every record of these persons, in all files.

    A row whose snippet is not in the history keeps its place in the benchmark with empty `evidence`: 508 of the 5,000
    released rows, all on private items, are such. `inspect_released` counts them.
    """
    questions: list[Question] = []
    rejected: list[Rejection] = []
    for person in _people(config, person_ids):
        rejected += person.rejected
        preferences = PersonPreferences(person)
        for question_id, row in person.rows:
            reason = person.problem or next(
                (f"{flaw.kind}: {flaw.detail}" for flaw in row_flaws(row) if flaw.loses), ""
            )
            if reason:
                rejected.append(
                    Rejection(row_id=person.row_ids[question_id], person_id=person.person_id, reason=reason)
                )
            else:
                questions.append(_question(person, question_id, row, preferences.of[question_id]))
    return questions, rejected


def released_records(config: ReleasedConfig, person_ids: Sequence[str]) -> list[tuple[str, str]]:
    """(id as a question, id as a rejection) of every record of these persons: one of the two is what became of it."""
    records: list[tuple[str, str]] = []
    for person in _people(config, person_ids):
        records += person.row_ids.items()
        records += [(read.row_id, read.row_id) for read in person.shared]
    return records


def _people(config: ReleasedConfig, person_ids: Sequence[str]) -> Iterator[Person]:
    files = open_files(config)
    return (files.person(name) for name in person_ids)


def _sentence(person: Person) -> str:
    return next((row.sentence for _, row in person.rows if row.sentence.strip()), f"Person {person.person_id}.")


def _rejected(person: Person) -> Rejection:
    return Rejection(row_id=person.person_id, person_id=person.person_id, reason=person.problem)


def _question(person: Person, question_id: str, row: ReleasedRow, preference: Preference) -> Question:
    kind, who, conversation = question_type(row), owner(row), scenario(row)
    assert kind and who and conversation and row.query is not None  # `row_flaws` has refused the others
    first, second, third = row.incorrect_answers
    forget = kind == "ask_to_forget"
    options = (row.correct_answer, *row.incorrect_answers)
    return Question(
        question_id=question_id, person_id=person.person_id, split=person.split, user_query=row.query,
        correct_answer=row.correct_answer, incorrect_answers=(first, second, third),
        incorrect_kinds=("other", "other", "other"), topic=row.topic_preference or row.topic_query,
        preference=preference.text, preference_id=preference.preference_id, pref_type=kind, who=who,
        updated=row.updated and not forget, prev_pref=forgotten(row) if forget else row.prev_pref,
        conversation_scenario=conversation, wording="seen",
        evidence=tuple(person.messages[place].turn_id for place in person.located[question_id].places), author=AUTHOR,
        certificate=RELEASED.model_copy(
            update={
                "longest_guess": guess_score(longest, options),
                "shortest_guess": guess_score(shortest, options),
                "update_accuracy": 0.0 if row.updated and not forget else None,
            }
        ),
    )  # fmt: skip
