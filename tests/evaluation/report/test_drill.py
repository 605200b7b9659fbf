"""What is prepared for the questions shown one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.evaluation.report.drill import changed, index_row, mark, memory_view, question_view
from personamem_pipeline.evaluation.report.wording import NOTHING, clipped, p_value, percent
from tests.evaluation.report import sample

LINES = st.lists(st.sampled_from(["tea", "jazz", "maps", "trains", ""]), max_size=8)


@given(LINES, LINES)
def test_same_and_new_lines_are_the_memory_after_the_turn(before: list[str], after: list[str]) -> None:
    parts = changed(before, after)
    replayed: list[str] = []
    for part in parts:
        if part["kind"] == "same":
            replayed += before[part["start"] : part["stop"]]
        elif part["kind"] == "new":
            replayed.append(part["text"])
    assert replayed == after
    kept = sum(part["stop"] - part["start"] for part in parts if part["kind"] == "same")
    assert kept + sum(part["kind"] == "gone" for part in parts) == len(before)


def test_marks_name_the_option_whatever_its_letter_was() -> None:
    wrong = ["cocoa", "juice"]
    assert mark("tea", True, wrong) == {"kind": "yes", "text": "right"}
    assert mark("juice", False, wrong) == {"kind": "no", "text": "wrong 2"}
    assert mark(None, False, wrong) == {"kind": "none", "text": "unparseable"}


def test_the_filter_knows_each_order_of_each_system() -> None:
    results = sample.sample(shown=1)
    question = results["shown"][0]
    question["answers"]["grpo"] |= {"picked": [question["right"], None], "correct": [True, False]}
    row = index_row(question_view(question, results["systems"], 0, None))
    assert row["type"] == question["type"]
    assert row["out"]["grpo"] == "1-"
    assert set(row["out"]) == {system["name"] for system in results["systems"]}


def test_of_long_chunks_only_evidence_is_kept() -> None:
    results = sample.sample(shown=1)
    models = [system for system in results["systems"] if system["role"] == "model"]
    long = ["user: " + "chat " * 900, "user: I like strong tea.", "assistant: " + "chat " * 900]
    steps = [{"index": 0, "chunk": long, "memory": "- tea", "kept": ""}]
    seen = memory_view("p", 0, {"grpo": steps, "sft": steps}, models, ["I like strong tea."])
    (walk,) = seen["walks"]
    assert [system["name"] for system in walk["systems"]] == ["sft", "grpo"]
    assert walk["steps"][0]["lines"] == [{"text": "user: I like strong tea.", "evidence": True}]
    assert walk["steps"][0]["hidden"] == 2


def test_systems_with_other_chunks_walk_apart() -> None:
    results = sample.sample(shown=1)
    models = [system for system in results["systems"] if system["role"] == "model"]
    one = [{"index": 0, "chunk": ["a", "b"], "memory": "- x", "kept": ""}]
    two = [{"index": at, "chunk": [line], "memory": "- x", "kept": ""} for at, line in enumerate("ab")]
    walks = memory_view("p", 0, {"sft": one, "grpo": two}, models, [])["walks"]
    assert [len(walk["steps"]) for walk in walks] == [1, 2]


def test_clipped_texts_say_so_and_keep_their_end() -> None:
    text = "x" * 900 + "\\boxed{b}"
    cut = clipped(text, 300)
    assert cut.endswith("\\boxed{b}")
    assert "609 characters left out here" in cut
    assert clipped("short", 300) == "short"


def test_figures_in_words() -> None:
    assert percent(None) == NOTHING
    assert [p_value(p) for p in (None, 0.07, 0.0005, 0.000012)] == [NOTHING, "0.070", "0.0005", "1.2e-5"]
