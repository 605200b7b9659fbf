"""What garbage collection decides, and when it refuses to."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.errors import IntegrityError, UserError
from personamem_pipeline.store import gc
from personamem_pipeline.store.place import Held, Leftover
from personamem_pipeline.store.runs import Run
from tests.store.collecting import DAY

NOW = 100 * DAY
NONE: frozenset[int] = frozenset()


def version(number: int) -> str:
    return f"{number:064x}"


def held(number: int, kind: str = "checkpoints", *, age: float = 30 * DAY, whole: bool = True) -> Held:
    return Held(kind, version(number), 10, NOW - age, whole)


def decide(
    things: list[Held], alive: AbstractSet[int], names: Mapping[int, set[int]] | None = None, *, keep_reports: int = 0,
    others: AbstractSet[int] = NONE, runs: tuple[Run, ...] = (), leftovers: tuple[Leftover, ...] = (),
) -> gc.Plan:  # fmt: skip
    named = {version(key): {version(one) for one in found} for key, found in (names or {}).items()}
    return gc.plan(
        gc.Found(tuple(things), runs, leftovers), map(version, alive), map(version, others),
        lambda one: named.get(one.version, set()), now=NOW, age=DAY, keep_reports=keep_reports,
    )  # fmt: skip


def run(number: int, age: float) -> Run:
    return Run(Path(str(number)), frozenset([version(number)]), 5, NOW - age)


def gone(plan: gc.Plan) -> set[int]:
    return {int(one.version, 16) for one in plan.things}


def test_what_the_living_name_stays_down_to_the_last() -> None:
    things = [held(number) for number in range(6)]
    assert gone(decide(things, {0}, {0: {1}, 1: {2, 3}, 4: {3, 5}})) == {4, 5}


def test_the_young_stay_with_what_they_come_from() -> None:
    things = [held(0), held(1, age=DAY / 2), held(2), held(3)]
    assert gone(decide(things, {0}, {1: {2}})) == {3}


def test_reports_keep_what_they_are_about_but_not_each_other() -> None:
    reports = [held(number, "reports", age=(20 - number) * DAY) for number in (10, 11, 12)]
    things = [*reports, *(held(number) for number in (0, 1, 2))]
    names = {10: {0}, 11: {1, 10}, 12: {2, 11}}
    assert gone(decide(things, {12}, names)) == {10, 11, 0, 1}
    assert gone(decide(things, {12}, names, keep_reports=2)) == {10, 0}
    for many in (3, 4, 5, 99):
        assert gone(decide(things, {12}, names, keep_reports=many)) == set()


def test_half_things_are_kept_for_a_day_and_name_nothing() -> None:
    things = [held(0), held(1, whole=False), held(2, whole=False, age=1.0), held(3)]
    assert gone(decide(things, {0}, {1: {3}, 2: {3}})) == {1, 3}


def test_scratch_goes_with_its_result_and_leftovers_with_age() -> None:
    runs = (run(0, 9 * DAY), run(1, 9 * DAY), run(2, 1.0))
    leftovers = (Leftover(".writing-a", 7, NOW - 9 * DAY), Leftover(".writing-b", 7, NOW - 1))
    plan = decide([held(0)], {0}, runs=runs, leftovers=leftovers)
    assert plan.runs == (runs[1],) and plan.leftovers == (leftovers[0],) and plan.bytes == 12


def test_what_young_work_is_made_from_stays_with_what_it_comes_from() -> None:
    """As when somebody runs a stage from a shell: Dagster does not know of it."""
    things = [held(number) for number in range(5)]
    names = {1: {2}, 3: {4}}
    plan = decide(things, {0}, names, runs=(run(1, 1.0), run(3, 9 * DAY), run(9, 1.0)))
    assert gone(plan) == {3, 4}
    assert [int(one.directory.name) for one in plan.runs] == [3] and plan.missing == ()


def test_a_store_that_dagster_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="none of the 1 versions in the store is the latest of any asset"):
        decide([held(0)], set())
    with pytest.raises(UserError, match="belong together"):
        decide([held(0)], {1})
    with pytest.raises(UserError, match="belong together"):
        decide([held(0, whole=False)], {1})
    assert decide([], {1}).missing == (version(1),)


def test_models_and_what_is_kept_by_hand_do_not_make_it_dagsters_store() -> None:
    with pytest.raises(UserError, match="belong together"):
        decide([held(0), held(1)], set(), others={0})
    with pytest.raises(UserError, match="belong together"):
        decide([held(0), held(1)], {2}, others={0})
    assert gone(decide([held(0), held(1), held(2)], {2}, others={0})) == {1}


@pytest.mark.parametrize(
    ("alive", "others", "names", "runs"),
    [({0, 1}, NONE, {}, ()), ({0}, {1}, {}, ()), ({0}, NONE, {0: {2}, 2: {1}}, ()), ({0}, NONE, {}, (run(1, 1.0),))],
    ids=["Dagster's", "kept by hand", "what another comes from", "in work"],
)
def test_nothing_is_decided_while_one_that_stays_has_lost_its_manifest(
    alive: set[int], others: AbstractSet[int], names: dict[int, set[int]], runs: tuple[Run, ...]
) -> None:
    things = [held(0), held(1, whole=False), held(2)]
    with pytest.raises(IntegrityError, match=rf"^checkpoints/{version(1)}: .* has no manifest"):
        decide(things, alive, names, others=others, runs=runs)


def test_whatever_is_alive_and_not_here_is_told() -> None:
    plan = decide([held(0), held(1)], {0, 7}, others={8})
    assert gone(plan) == {1} and plan.missing == (version(7), version(8))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20),
    st.sets(st.integers(0, 9), min_size=1),
    st.lists(st.sampled_from([0.1, 2.0]), min_size=10, max_size=10),
)
def test_nothing_that_stays_names_what_goes(edges: list[tuple[int, int]], alive: set[int], days: list[float]) -> None:
    names: dict[int, set[int]] = {}
    for child, parent in edges:
        names.setdefault(child, set()).add(parent)
    things = [held(number, age=days[number] * DAY) for number in range(10)]
    plan = decide(things, alive, names)
    went = gone(plan)
    assert not went & alive
    assert sorted([*(one.version for one in plan.kept), *map(version, went)]) == [version(n) for n in range(10)]
    assert all(days[number] > 1 for number in went)
    assert not any(names.get(number, set()) & went for number in set(range(10)) - went)
