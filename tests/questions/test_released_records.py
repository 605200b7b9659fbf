"""The released files as our records, shard by shard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personamem_pipeline.arrow import from_arrow, to_arrow
from personamem_pipeline.conversations.counting import count_gpt4o
from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import ReleasedConfig
from personamem_pipeline.questions.released_records import (
    RELEASED,
    released_histories,
    released_personas,
    released_questions,
    released_seeds,
    released_sessions,
    released_strays,
)
from personamem_pipeline.records import Persona, Question
from tests.questions.released_files import (
    ABSENT,
    COFFEE,
    FORGET,
    REAL_CSV,
    REAL_HISTORY,
    TEA,
    cells,
    small,
    table,
    write_history,
    write_table,
)

ALL = ["p0007", "p0008", "p0009"]


def test_the_benchmark_wins(tmp_path: Path) -> None:
    seeds = released_seeds(small(tmp_path))
    assert [(seed.person_id, seed.split) for seed in seeds] == [
        ("p0007", "training"),
        ("p0008", "training"),
        ("p0009", "benchmark"),
    ]
    assert seeds[0].persona == 'Nurse 7\'s "sentence".'


def test_preferences_know_what_they_replace_and_what_is_forgotten(tmp_path: Path) -> None:
    (persona, private, _), rejected = released_personas(small(tmp_path), ALL)
    assert rejected == [] and from_arrow(Persona, to_arrow(persona)) == persona
    assert persona.profile == {"age": "30", "location.city": "Kiel"} and persona.name == "Ann"
    assert [(p.preference_id, p.text, p.replaces, p.forgotten) for p in persona.preferences] == [
        ("p0007.p0", "Green tea", None, False),
        ("p0007.p1", "Coffee", "p0007.p0", False),
        ("p0007.p2", "Chess", None, True),
    ]
    assert [(p.text, p.pref_type) for p in private.preferences] == [("sensitive_info", "sensitive_info")]


def test_sessions_are_snippets_and_what_is_between_them(tmp_path: Path) -> None:
    sessions, rejected = released_sessions(small(tmp_path), ["p0007"])
    assert rejected == []
    assert [(s.session_id, s.time, s.event, len(s.messages), s.preference_id) for s in sessions] == [
        ("p0007.s0000", "1970-01-01T00:00", "small_talk", 2, None),
        ("p0007.s0001", "1970-01-01T00:01", "reveals", 2, "p0007.p0"),
        ("p0007.s0002", "1970-01-01T00:02", "small_talk", 2, None),
        ("p0007.s0003", "1970-01-01T00:03", "forgets", 3, "p0007.p2"),
        ("p0007.s0004", "1970-01-01T00:04", "updates", 2, "p0007.p1"),
        ("p0007.s0005", "1970-01-01T00:05", "small_talk", 2, None),
    ]
    assert [m.turn_id for s in sessions for m in s.messages] == [f"p0007.m{place:04d}" for place in range(1, 14)]
    assert sessions[1].evidence == ("p0007.m0003", "p0007.m0004") and sessions[0].evidence == ()


def test_overlapping_snippets_are_one_session(tmp_path: Path) -> None:
    history = [*TEA, *COFFEE, *FORGET]
    write_history(tmp_path, 7, history)
    rows = [
        cells(
            7,
            related_conversation_snippet=json.dumps(history[start:end]),
            preference=f"{start}",
            user_query=f"{start}?",
        )
        for start, end in ((0, 3), (2, 4), (4, 7))
    ]
    write_table(tmp_path / "b.csv", rows)
    config = ReleasedConfig(root=str(tmp_path), training=(), benchmark="b.csv")
    sessions, _ = released_sessions(config, ["p0007"])
    assert [(len(s.messages), len(s.evidence), s.preference and s.preference.text) for s in sessions] == [
        (4, 4, "0"),
        (3, 3, "4"),
    ]
    questions, _ = released_questions(config, ["p0007"])
    assert [len(question.evidence) for question in questions] == [3, 2, 3]


def test_histories_are_whole_and_counted_anew(tmp_path: Path) -> None:
    config = small(tmp_path)
    history, *_ = released_histories(config, ALL)
    assert history.tokenizer == "gpt-4o" and history.tokens == history.gpt4o_tokens
    assert history.tokens == sum(count_gpt4o([message.content for message in history.messages])) > 0
    assert history.messages[0].role == "user" and history.profile == ""
    (whole,) = released_histories(config, ["p0007"], profile_message=True)
    assert whole.messages[0].content == "You help Ann, a nurse." and whole.tokens > history.tokens


def test_every_row_is_a_question_or_a_rejection(tmp_path: Path) -> None:
    questions, rejected = released_questions(small(tmp_path), ALL)
    assert [(q.question_id, q.pref_type, q.updated, q.prev_pref, q.preference) for q in questions] == [
        ("p0007.q0000", "neutral_preferences", False, "", "Green tea"),
        ("p0007.q0001", "ask_to_forget", False, "Chess", "Chess"),
        ("p0007.q0002", "neutral_preferences", True, "Green tea", "Coffee"),
        ("p0008.q0000", "sensitive_info", False, "", "sensitive_info"),
        ("p0009.q0000", "neutral_preferences", False, "", "Green tea"),
        ("p0009.q0001", "neutral_preferences", True, "Green tea", "Coffee"),
    ]
    assert [len(q.evidence) for q in questions] == [2, 3, 2, 0, 2, 2]
    assert [(r.person_id, r.row_id.rpartition("/")[2], r.reason.partition(":")[0]) for r in rejected] == [
        ("p0009", "val.csv:9", "split_overlap")
    ]
    assert from_arrow(Question, to_arrow(questions[0])) == questions[0]


def test_released_rows_are_admitted_without_pretending_to_be_certified(tmp_path: Path) -> None:
    questions, _ = released_questions(small(tmp_path), ["p0007"])
    certificate = questions[0].certificate
    assert certificate.admitted and not certificate.reasons and "not certified" in certificate.readers[0]
    assert (certificate.blind_accuracy, certificate.oracle_accuracy, certificate.swapped_accuracy) == (1, 0, 1)
    assert (certificate.longest_guess, certificate.shortest_guess) == (0.0, 0.0)
    assert RELEASED.query_leak and {q.certificate.update_accuracy for q in questions} == {None, 0.0}
    assert set(questions[0].incorrect_kinds) == {"other"}


def test_what_is_broken_is_rejected_and_counted(tmp_path: Path) -> None:
    config = small(tmp_path)
    path = tmp_path / "text/train.csv"
    bad = [
        cells(7, user_query="{'role"), cells(7, pref_type="taste"), cells(10), cells(11, updated="?"),
        cells(12, persona_id="x"),
    ]  # fmt: skip
    path.write_bytes(path.read_bytes() + table(bad).partition(b"\r\n")[2])
    seeds = released_seeds(config)
    ids = [seed.person_id for seed in seeds]
    assert ids == [*ALL, "p0010"]
    questions, rejected = released_questions(config, ids)
    reasons = sorted(r.reason.partition(":")[0] for r in [*rejected, *released_strays(config)])
    assert reasons == ["bad_value", "bad_value", "broken_literal", "missing_history", "split_overlap", "unknown_type"]
    assert len(questions) + len(reasons) == 7 + 5
    sessions, refused = released_sessions(config, ids)
    assert [(r.row_id, r.reason.partition(":")[0]) for r in refused] == [("p0010", "missing_history")]
    assert {s.person_id for s in sessions} == set(ALL) == {h.person_id for h in released_histories(config, ids)}
    assert len(released_personas(config, ids)[0]) == 4
    # A broken row renames no other: the numbers are the records' places.
    assert [q.question_id for q in questions if q.person_id == "p0007"] == ["p0007.q0000", "p0007.q0001", "p0007.q0004"]


def test_the_other_size(tmp_path: Path) -> None:
    write_history(tmp_path, 7, [*TEA, *COFFEE], size="128k")
    rows = [cells(7, num_persona_irrelevant_tokens_128k="5")]
    write_table(tmp_path / "b.csv", rows)
    config = ReleasedConfig(root=str(tmp_path), training=(), benchmark="b.csv", size="128k")
    (history,) = released_histories(config, ["p0007"])
    assert history.padding_tokens == 5 and len(history.messages) == 4
    assert released_histories(config.model_copy(update={"size": "32k"}), ["p0007"]) == []


def test_a_person_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = small(tmp_path)
    with pytest.raises(UserError, match="p0500 has no rows"):
        released_questions(config, ["p0500"])
    with pytest.raises(UserError, match="'ann' is no person"):
        released_personas(config, ["ann"])


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    config = small(tmp_path)
    apart = [question for person in ALL for question in released_questions(config, [person])[0]]
    assert apart == released_questions(config, ALL)[0]


@pytest.mark.skipif(not REAL_CSV.is_file(), reason=ABSENT)
def test_the_real_row_on_its_real_history(tmp_path: Path) -> None:
    link = tmp_path / "data/chat_history_32k/chat_history_250913_163134_persona521.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(REAL_HISTORY)
    (tmp_path / "benchmark.csv").symlink_to(REAL_CSV)
    config = ReleasedConfig(root=str(tmp_path), training=(), benchmark="benchmark.csv")
    (history,) = released_histories(config, ["p0521"])
    assert len(history.messages) == 7 and history.tokens < 31842
    (seed,) = released_seeds(config)
    (question,), rejected = released_questions(config, [seed.person_id])
    assert rejected == [] and question.evidence == () and question.pref_type == "anti_stereotypical_pref"
    assert question.user_query in REAL_CSV.read_text() and len(question.incorrect_answers) == 3


def test_a_change_follows_what_it_replaces_and_two_never_replace_each_other(tmp_path: Path) -> None:
    config = small(tmp_path)
    rows = [
        cells(7, preference="Coffee", updated="True", prev_pref="Green tea"),
        cells(7, preference="Green tea", updated="True", prev_pref="Coffee"),
        cells(7, preference="Green tea", updated="True", prev_pref="Milk"),
    ]
    write_table(tmp_path / "text/train.csv", rows)
    write_table(tmp_path / "text/val.csv", [])
    (persona,), _ = released_personas(config, ["p0007"])
    ids = [preference.preference_id for preference in persona.preferences]
    texts = {preference.preference_id: preference.text for preference in persona.preferences}
    links = {p.text: texts[p.replaces] for p in persona.preferences if p.replaces}
    assert links == {"Coffee": "Green tea", "Green tea": "Milk"}
    assert all(p.replaces is None or p.replaces in ids[: ids.index(p.preference_id)] for p in persona.preferences)
