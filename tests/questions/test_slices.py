"""Length guesses are held to their bound on every type of question, by as few and ever the same refusals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.facts import QuestionFacts
from personamem_pipeline.questions.slices import slice_figures, slice_table, trim, within_bounds
from tests.questions.dealt import CONFIG, made_question

GUESSES = st.sampled_from([(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.25, 0.25), (1 / 3, 0.0)])


def facts(guesses: list[tuple[float, float]], **certificate: object) -> list[QuestionFacts]:
    return [
        QuestionFacts.of(
            made_question(
                f"t{index:04d}", index % 2,
                certificate={"longest_guess": longest, "shortest_guess": shortest, **certificate},
            )
        )
        for index, (longest, shortest) in enumerate(guesses)
    ]  # fmt: skip


@given(st.lists(GUESSES, min_size=1, max_size=40), st.sampled_from([0.25, 0.3, 0.5, 1.0]), st.randoms())
def test_after_trimming_the_bounds_hold_whatever_the_order(
    guesses: list[tuple[float, float]], bound: float, random: object
) -> None:
    config = QuestionsConfig(max_length_guess=bound)
    rows = facts(guesses)
    gone = trim(rows, config)
    kept = [row for row in rows if row.question_id not in gone]
    assert within_bounds(slice_figures(kept), config, gone).passed or not kept
    shuffled = sorted(rows, key=lambda row: random.random())  # type: ignore[attr-defined]
    assert trim(shuffled, config) == gone
    by_id = {row.question_id: row for row in rows}
    assert all(max(by_id[name].longest, by_id[name].shortest) > bound for name in gone), "only surplus rows go"
    assert all(reason.startswith("length: the right option is the ") for reason in gone.values())


def test_nothing_goes_where_nothing_stands_out() -> None:
    assert trim(facts([(1.0, 0.0), (0.0, 1.0), *[(0.0, 0.0)] * 4, (0.0, 1.0), (1.0, 0.0)]), CONFIG) == {}


def test_no_more_rows_go_than_needed() -> None:
    rows = facts([(1.0, 0.0)] * 4 + [(0.0, 0.0)] * 6)
    rows = [
        QuestionFacts.of(made_question(row.person_id, 0, certificate={"longest_guess": row.longest})) for row in rows
    ]
    gone = trim(rows, CONFIG)
    kept = len(rows) - len(gone)
    assert (4 - len(gone)) / kept <= 0.3 < (4 - len(gone) + 1) / (kept + 1)


def test_refused_rows_do_not_count() -> None:
    rows = [made_question(f"t{n:04d}", certificate={"longest_guess": 1.0, "admitted": False}) for n in range(9)]
    assert trim(map(QuestionFacts.of, rows), CONFIG) == {}


def test_every_bound_can_fail() -> None:
    good = facts([(0.0, 0.25)] * 8)
    assert within_bounds(slice_figures(good), CONFIG, {}).passed
    broken = {
        "all: blind 0.310, over 0.3": facts([(0.0, 0.25)] * 8, blind_by_reader=(0.2, 0.31)),
        "all: oracle 0.800, under 0.9": facts([(0.0, 0.25)] * 8, oracle_accuracy=0.8),
        "anti_stereotypical_pref: longest guess 1.000, over 0.3": facts([(0.0, 0.0), (1.0, 0.0)] * 4),
        "stereotypical_pref: shortest guess 0.500, over 0.3": facts([(0.0, 0.5), (0.0, 0.0)] * 4),
        "there is no admitted question": [],
    }
    for problem, rows in broken.items():
        finding = within_bounds(slice_figures(rows), CONFIG, {})
        assert not finding.passed and finding.facts["out_of_bounds"] == [problem]


def test_figures_are_means_per_type_and_per_reader() -> None:
    rows = [
        QuestionFacts.of(
            made_question("t0000", 0, certificate={"blind_accuracy": 0.5, "blind_by_reader": (0.5, 0.25)})
        ),
        QuestionFacts.of(made_question("t0001", 0, certificate={"blind_accuracy": 0.0, "blind_by_reader": (0.0, 0.0)})),
        QuestionFacts.of(made_question("t0001", 1, updated=True, certificate={"update_accuracy": 1.0})),
    ]
    figures = slice_figures(rows)
    assert figures["stereotypical_pref"]["blind"] == 0.25
    assert figures["stereotypical_pref"]["blind_by_reader"] == {"other": 0.125, "simulator/1": 0.25}
    assert figures["stereotypical_pref"]["update"] is None and figures["all"]["update"] == 1.0
    assert figures["all"]["questions"] == 3 and list(figures) == [
        "all",
        "anti_stereotypical_pref",
        "stereotypical_pref",
    ]
    assert figures["all"]["odd_one_out"] == 1.0, "the right answers share no word with the wrong ones"
    table = slice_table(figures)
    assert "| `stereotypical_pref` | 2 | 0.250 |" in table and "blind: other" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1
