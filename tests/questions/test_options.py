"""Letters: always a permutation, always the same, and no letter is favoured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.questions.options import ORDERS, lettered
from personamem_pipeline.questions.write import UNCERTIFIED
from personamem_pipeline.records import Question

TEXT = st.text("abcdefg ", min_size=1, max_size=12)


def question(question_id: str, options: tuple[str, str, str, str] = ("right", "x", "y", "z")) -> Question:
    return Question(
        question_id=question_id, person_id="t0000", split="training", user_query="q", correct_answer=options[0],
        incorrect_answers=options[1:], incorrect_kinds=("other", "stereotypical", "generic"), topic="t",
        preference="p", preference_id="t0000.p0",
        pref_type="neutral_preferences", who="self", updated=False, prev_pref="",
        conversation_scenario="chat_message", wording="seen", evidence=("t0000.s00.m0",), author="a",
        certificate=UNCERTIFIED,
    )  # fmt: skip


@given(st.tuples(TEXT, TEXT, TEXT, TEXT), st.integers(0, 2**40), st.integers(0, 100), st.text(max_size=8))
def test_it_is_a_permutation_and_knows_the_right_one(
    options: tuple[str, str, str, str], seed: int, order: int, question_id: str
) -> None:
    letters, right = lettered(question(question_id, options), seed, order)
    assert list(letters) == ["a", "b", "c", "d"]
    assert Counter(letters.values()) == Counter(options)
    assert letters[right] == options[0]
    assert (letters, right) == lettered(question(question_id, options), seed, order)


@given(st.integers(0, 1000), st.integers(0, 5))
def test_four_orders_put_the_right_option_under_each_letter(seed: int, block: int) -> None:
    rights = [lettered(question("q"), seed, 4 * block + order)[1] for order in range(4)]
    assert sorted(rights) == ["a", "b", "c", "d"]


@given(st.integers(0, 1000))
def test_all_orders_differ(seed: int) -> None:
    assert len({tuple(lettered(question("q"), seed, order)[0].values()) for order in range(ORDERS)}) == ORDERS


def test_over_many_questions_no_letter_is_favoured() -> None:
    counts = Counter(lettered(question(f"q{index}"), 0)[1] for index in range(2000))
    assert all(abs(count - 500) < 80 for count in counts.values()), counts


def test_another_process_with_another_hash_seed_agrees() -> None:
    here = [lettered(question(f"q{index}"), 7, index) for index in range(50)]
    script = (
        "import json; from tests.questions.test_options import lettered, question;"
        "print(json.dumps([lettered(question(f'q{i}'), 7, i) for i in range(50)]))"
    )
    for hash_seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path.cwd())}
        there = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
        assert json.loads(there.stdout) == json.loads(json.dumps(here))
