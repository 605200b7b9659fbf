"""The figures: which are drawn of what, and what goes into the page."""

from __future__ import annotations

import re
from pathlib import Path

from personamem_pipeline.evaluation.report import plots
from personamem_pipeline.evaluation.report.plots.cost import cap_lines
from personamem_pipeline.evaluation.report.plots.slices import bin_order
from personamem_pipeline.evaluation.report.plots.style import INK
from tests.evaluation.report import sample


def test_everything_known_is_drawn() -> None:
    drawn = plots.figures(sample.sample(shown=0), sample.curves(), sample.pooled())
    assert set(drawn) == {
        "headline", "letters", "by_type", "gaps", "forget", "distance", "frontier", "break_even", "memory_sizes",
        "open_answers", "seeds", "sft_loss", "grpo_reward",
    }  # fmt: skip


def test_a_phone_gets_the_same_figures_as_wide_as_it_is() -> None:
    wide, narrow = (plots.figures(sample.sample(shown=0), {}, None, narrow=narrow) for narrow in (False, True))
    assert set(narrow) == set(wide)
    for name, (figure, said) in narrow.items():
        assert figure.get_tightbbox().width < 4.2, f"{name}: inches at 96 pixels each, on a phone of 390"
        assert said == wide[name][1]


def test_what_is_not_known_is_not_drawn() -> None:
    assert set(plots.figures(sample.gapped(), {}, None)) == {"headline", "by_type", "frontier"}


def test_one_memory_at_several_caps_is_a_line_by_rising_cap() -> None:
    assert cap_lines(sample.sample(shown=0)) == [[(121.0, 0.391), (158.0, 0.464)]]


def test_distances_stand_from_near_to_far() -> None:
    bins = ["98-180 messages", "not located", "0-41 messages", "42 messages"]
    assert sorted(bins, key=bin_order) == ["0-41 messages", "42 messages", "98-180 messages", "not located"]


def test_a_figure_in_the_page_has_own_ids_and_the_pages_ink(tmp_path: Path) -> None:
    results = sample.gapped()
    inline = [
        plots.publish(plots.figures(results, {}, None)[name][0], tmp_path / str(turn), name, 'says "it"')
        for turn in range(2)
        for name in ("headline", "frontier")
    ]
    ids = [re.findall(r' id="([^"]+)"', svg) for svg in inline]
    assert not set(ids[0]) & set(ids[1])
    for svg in inline:
        assert INK not in svg and "currentColor" in svg
        assert "<style" not in svg and "<metadata" not in svg
        assert 'aria-label="says &quot;it&quot;"' in svg
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
        assert {one or other for one, other in used} <= set(re.findall(r' id="([^"]+)"', svg))
    for name in ("headline.svg", "headline.png", "frontier.svg", "frontier.png"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
