"""Two persons built by hand for the viewer: everything that a page has to show, and texts that want to be markup."""

from __future__ import annotations

from typing import Any

from personamem_pipeline.records import (
    Certificate,
    ConversationType,
    Event,
    History,
    Message,
    Persona,
    Preference,
    Question,
    Rejection,
    Session,
)

HOSTILE = "</script><img src=x onerror='document.title=1'><!--<script>alert(1)</script> & \"quotes\" \u2028 {{ 7*7 }}"


def certificate(**changes: Any) -> Certificate:
    values: dict[str, Any] = {
        "readers": ("reader/a", "reader/b"), "blind_accuracy": 0.25, "blind_by_reader": (0.25, 0.125),
        "oracle_accuracy": 1.0, "update_accuracy": None, "swapped_accuracy": 0.25, "query_leak": False,
        "implicitness": 1.0, "longest_guess": 0.0, "shortest_guess": 0.5, "admitted": True, "reasons": (),
    }  # fmt: skip
    return Certificate(**{**values, **changes})


def preference(preference_id: str, text: str, **changes: Any) -> Preference:
    values = {"topic": "drinks", "pref_type": "neutral_preferences"}
    return Preference(preference_id=preference_id, text=text, **{**values, **changes})


def session(
    number: int,
    event: Event,
    about: Preference | None,
    said: str,
    *,
    person: str = "p1",
    kind: ConversationType = "personal_email",
) -> Session:
    name = f"{person}.s{number:02d}"
    told = event not in ("small_talk", "padding")
    answer = "Of course.\n\nHere is the text, " + "a little smoother now. " * 8
    return Session(
        session_id=name, person_id=person, time=f"2025-03-{number + 1:02d}T18:40", conversation_type=kind, event=event,
        preference=about, wording="unseen" if event == "updates" else "seen",
        messages=(
            Message(turn_id=f"{name}.t0", role="user", content=said),
            Message(turn_id=f"{name}.t1", role="assistant", content=answer),
        ),
        evidence=(f"{name}.t0",) if told else (), author="by hand",
    )  # fmt: skip


TEA = preference("p1.a", "strong black tea")
COCOA = preference("p1.b", "hot cocoa at night", replaces="p1.a")
CHESS = preference("p1.c", "speed chess in the park", topic="games", pref_type="stereotypical_pref", forgotten=True)
SISTER = preference("p1.d", "salsa nights", topic="dance", who="others")
ODD = preference("p2.a", HOSTILE, topic="<b>markup</b>", pref_type="anti_stereotypical_pref")


def question(number: int, about: Preference, evidence: tuple[str, ...], **changes: Any) -> Question:
    values: dict[str, Any] = {
        "question_id": f"{about.preference_id}.q{number}", "person_id": about.preference_id.split(".")[0],
        "split": "benchmark", "user_query": f"What could I do about {about.topic} this weekend?",
        "correct_answer": f"Something with {about.text}.",
        "incorrect_answers": ("Try the new juice bar.", "A plain glass of water does it.", "Whatever the others take."),
        "incorrect_kinds": ("other", "generic", "stereotypical"), "topic": about.topic, "preference": about.text,
        "preference_id": about.preference_id, "pref_type": about.pref_type, "who": about.who, "updated": False,
        "prev_pref": "", "conversation_scenario": "personal_email", "wording": "seen", "evidence": evidence,
        "author": "by hand", "certificate": certificate(),
    }  # fmt: skip
    return Question(**{**values, **changes})


def personas() -> dict[str, Persona]:
    return {
        "p1": Persona(
            person_id="p1", split="benchmark", seed_persona="A retired bookbinder who repairs atlases.", name="Ines Moreau",
            profile={"age": "67", "location": "Lyon, France", "speaking_style": "short and dry"},
            preferences=(TEA, COCOA, CHESS, SISTER), author="by hand",
        ),
        "p2": Persona(
            person_id="p2", split="benchmark", seed_persona=HOSTILE, name=f"Bobby {HOSTILE}", profile={"age": HOSTILE},
            preferences=(ODD,), author="by hand",
        ),
    }  # fmt: skip


def histories() -> list[History]:
    long_word = "Donau" + "dampfschifffahrt" * 12
    first = (
        session(0, "small_talk", None, f"What is a {long_word}?", kind="knowledge_query"),
        session(1, "reveals", TEA, "Please polish: I let the leaves stand until the spoon stands too."),
        session(2, "reveals", CHESS, "Polish my note: the clock by the fountain beat me again.", kind="chat_message"),
        session(3, "padding", None, "How many primes are below ten?", kind="knowledge_query"),
        session(4, "updates", COCOA, "Polish: my cups smell of the dark powder now; the leaves went to a neighbour."),
        session(5, "reveals", SISTER, "My sister writes that the floor shook on Friday. What does she mean?"),
        session(6, "forgets", CHESS, "Please forget that I told you about speed chess.", kind="trouble_consult"),
    )
    second = (session(0, "reveals", ODD, f"Polish this: {HOSTILE}", person="p2"),)
    values: dict[str, Any] = {"split": "benchmark", "tokenizer": "words"}
    return [
        History(person_id="p1", sessions=first, tokens=1234, gpt4o_tokens=1300, padding_tokens=40, **values),
        History(person_id="p2", sessions=second, tokens=99, profile=f"profile {HOSTILE}", **values),
    ]


def questions() -> list[Question]:
    refused = certificate(
        blind_accuracy=0.75, blind_by_reader=(0.75, 0.5), admitted=False, update_accuracy=1.0,
        reasons=("blind: right in 75 % of the orders without any history", "leak: the query names the preference"),
    )  # fmt: skip
    return [
        question(0, COCOA, ("p1.s01.t0", "p1.s04.t0"), updated=True, prev_pref=TEA.text, wording="unseen",
                 certificate=refused, incorrect_kinds=("previous", "generic", "stereotypical")),
        question(0, CHESS, ("p1.s02.t0", "p1.s06.t0"), pref_type="ask_to_forget", prev_pref=CHESS.text,
                 incorrect_kinds=("forgotten", "forgotten", "forgotten"), conversation_scenario="chat_message"),
        question(0, SISTER, ("p1.s05.t0", "p1.s99.t0"), incorrect_kinds=("others", "others", "others")),
        question(0, ODD, ("p2.s00.t0",), user_query=HOSTILE, certificate=certificate(reasons=(HOSTILE,), admitted=False)),
    ]  # fmt: skip


REJECTED = (
    Rejection(
        row_id="p1.x.q0", person_id="p1", reason="schema: no JSON came back\nlength: the longest", content=HOSTILE
    ),
    Rejection(row_id="p9", person_id="p9", reason="schema: no JSON came back"),
)
