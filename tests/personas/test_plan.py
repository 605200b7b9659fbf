"""What each person shall have: the plan's rules for any configuration, and that the demo's plans stay as they are."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from personamem_pipeline.personas.plan import BACKGROUNDS, TASTES, Want, plan_wants
from personamem_pipeline.presets import PersonasConfig

PERSONAS = PersonasConfig(
    self_preferences=4, others_share=0.6, sensitive_share=0.6, updated_share=0.7, forgotten_share=0.7
)
SHARES = st.sampled_from([0.0, 0.5, 1.0])


@given(st.integers(1, 24), SHARES, SHARES, st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=120, deadline=None)
def test_every_plan_keeps_the_rules(count: int, updated: float, forgotten: float, chances: int, person: int) -> None:
    config = PersonasConfig(
        self_preferences=count, updated_share=updated, forgotten_share=forgotten, others_share=1.0,
        sensitive_share=1.0, per_chance=chances,
    )  # fmt: skip
    wants = plan_wants(f"t{person}", config, 0)
    assert wants == plan_wants(f"t{person}", config, 0)
    own, theirs, private = wants[:count], wants[count : count + chances], wants[count + chances :]
    assert theirs == [Want("neutral_preferences", who="others")] * chances
    assert private == [Want("sensitive_info")] * chances
    assert {want.who for want in own} == {"self"}
    for want in own:
        assert not (want.updated and want.forgotten)
        assert not (want.updated and want.pref_type == "therapy_background")
    changes, forgets = sum(want.updated for want in own), sum(want.forgotten for want in own)
    changeable = sum(want.pref_type != "therapy_background" for want in own)
    assert changes <= min(chances, changeable)
    assert forgets <= min(chances, count - changes)
    if updated == 1:
        assert changes == min(chances, changeable)
    if forgotten == 1:
        assert forgets == min(chances, count - changes)
    if not updated:
        assert not changes
    kinds = Counter(want.pref_type for want in own)
    assert all(kinds[background] <= 1 for background in BACKGROUNDS)
    assert max(kinds[taste] for taste in TASTES) - min(kinds[taste] for taste in TASTES) <= 2


def test_types_and_shares_come_out_as_configured() -> None:
    plans = [plan_wants(f"t{index}", PERSONAS, 0) for index in range(600)]
    types = Counter(want.pref_type for plan in plans for want in plan[:4])
    assert all(abs(types[kind] - 480) < 60 for kind in (*TASTES, *BACKGROUNDS)), types
    for name, share in (("updated", 0.7), ("forgotten", 0.7)):
        assert abs(sum(any(getattr(want, name) for want in plan) for plan in plans) / 600 - share) < 0.06


def test_each_chance_is_drawn_as_often_as_configured() -> None:
    config = PersonasConfig(
        self_preferences=16, updated_share=0.5, forgotten_share=0.4, others_share=0.5, sensitive_share=0.5, per_chance=3
    )
    plans = [plan_wants(f"t{index}", config, 0) for index in range(600)]
    wants = [want for plan in plans for want in plan]
    for share, count in (
        (0.5, sum(want.updated for want in wants)),
        (0.4, sum(want.forgotten for want in wants)),
        (0.5, sum(want.who == "others" for want in wants)),
        (0.5, sum(want.pref_type == "sensitive_info" for want in wants)),
    ):
        assert abs(count / 600 - 3 * share) < 0.15


def test_one_chance_each_draws_as_it_always_did() -> None:
    """The demo's data rest on these draws; they were written down before there was more than one chance."""
    one, two = plan_wants("t0000", PERSONAS, 0), plan_wants("t0001", PERSONAS, 0)
    assert one == [
        Want("stereotypical_pref"),
        Want("anti_stereotypical_pref", forgotten=True),
        Want("therapy_background"),
        Want("health_and_medical_conditions"),
        Want("sensitive_info"),
    ]
    assert two == [
        Want("anti_stereotypical_pref", updated=True),
        Want("health_and_medical_conditions"),
        Want("neutral_preferences"),
        Want("stereotypical_pref", forgotten=True),
        Want("neutral_preferences", who="others"),
        Want("sensitive_info"),
    ]
