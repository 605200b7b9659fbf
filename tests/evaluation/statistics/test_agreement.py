from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from personamem_pipeline.evaluation.statistics.agreement import cohens_kappa, krippendorff_alpha

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units, of which
# the last has one rating only. The paper gives nominal 0.743 and interval 0.849.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def test_krippendorffs_own_example() -> None:
    assert krippendorff_alpha(OBSERVERS, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(OBSERVERS, "interval") == pytest.approx(0.849, abs=5e-4)


def test_krippendorffs_binary_example() -> None:
    # The same paper, section A: two observers, ten units, alpha = 0.095.
    ratings = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
    assert krippendorff_alpha(ratings, "nominal") == pytest.approx(0.095, abs=5e-4)


@pytest.mark.parametrize(
    "ratings",
    [
        [],
        [[1.0, 0.0, 1.0]],
        [[1.0], [0.0]],
        [[1.0, None, 0.0], [0.0, 1.0, None]],
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
        [[1.0, 1.0, 0.0], [1.0, 1.0, None]],
        [[None, None], [None, None]],
    ],
    ids=["no judge", "one judge", "one item", "one item rated twice", "all the same", "same where paired", "missing"],
)
def test_alpha_is_undefined(ratings: list[list[float | None]]) -> None:
    assert krippendorff_alpha(ratings) is None


def test_perfect_agreement_and_perfect_disagreement() -> None:
    assert krippendorff_alpha([[0.0, 1.0, 0.5], [0.0, 1.0, 0.5]]) == 1.0
    assert cohens_kappa(["y", "n", "y"], ["y", "n", "y"]) == 1.0
    assert cohens_kappa([1, 0, 1, 0], [0, 1, 0, 1]) == -1.0


def test_kappa_by_hand() -> None:
    # 50 items: both yes 20, only a 5, only b 10, both no 15; observed 0.7, chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    a = [True] * 25 + [False] * 25
    b = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert cohens_kappa(a, b) == pytest.approx(0.4)


def test_kappa_leaves_missing_labels_out() -> None:
    assert cohens_kappa([1, 0, 1, None, 0], [1, 0, 0, 1, None]) == cohens_kappa([1, 0, 1], [1, 0, 0])


def test_kappa_is_undefined_or_zero_without_variation() -> None:
    assert cohens_kappa([], []) is None
    assert cohens_kappa([1, None], [0, 1]) is None
    assert cohens_kappa([1, 1, 1], [1, 1, 1]) is None
    assert cohens_kappa([1, 1, 1], [1, 0, 1]) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="2 labels of one rater, 1"):
        cohens_kappa([1, 0], [1])


Labels = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz")), min_size=2, max_size=30)


@given(Labels, st.randoms())
def test_kappa_equals_scikit_learns_whatever_the_order(pairs: list[tuple[str, str]], shuffler: random.Random) -> None:
    a, b = (list(side) for side in zip(*pairs, strict=True))
    kappa = cohens_kappa(a, b)
    if kappa is None:
        assert len({*a, *b}) == 1
        return
    assert kappa == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    assert kappa == pytest.approx(cohens_kappa(b, a), abs=1e-12)
    shuffler.shuffle(pairs)
    assert kappa == pytest.approx(cohens_kappa(*zip(*pairs, strict=True)), abs=1e-12)


@given(st.lists(st.tuples(*[st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0]))] * 3), min_size=2, max_size=20))
def test_alpha_does_not_care_who_is_which_judge(items: list[tuple[float | None, ...]]) -> None:
    judges = [list(judge) for judge in zip(*items, strict=True)]
    alpha = krippendorff_alpha(judges)
    assert alpha == pytest.approx(krippendorff_alpha(judges[::-1]), abs=1e-12)
    assert alpha is None or alpha <= 1
