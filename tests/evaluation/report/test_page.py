"""The page: closed to the network, sound HTML, every gap marked, hostile text inert, bounded in size, the same bytes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from personamem_pipeline.evaluation.report import page, render, render_pool
from tests.evaluation.report import sample

VOID = ("meta", "br", "link", "img", "input")


class Reader(HTMLParser):
    """Collects what a browser would fetch, ids, scripts and visible text, and checks that elements close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        addresses = [values.get(name) or "" for name in ("src", "href", "xlink:href") if values.get(name)]
        self.fetched += [address for address in addresses if not address.startswith("#")]
        self.links += [address[1:] for address in addresses if address.startswith("#") and tag == "a"]
        self.ids += [values["id"] or ""] if "id" in values else []
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


@pytest.fixture(scope="module")
def whole() -> str:
    return render(sample.sample(), {}, sample.pooled())


def test_the_page_is_sound_and_fetches_nothing(whole: str) -> None:
    found = Reader(whole)
    assert found.fetched == []
    assert len(found.ids) == len(set(found.ids))
    assert set(found.links) <= set(found.ids), "no link leads nowhere"
    assert not re.findall(r"url\((?!#)|@import", whole)
    assert "default-src 'none'" in whole


def test_the_lead_has_the_main_test_and_says_what_it_is_worth(whole: str) -> None:
    text = " ".join(" ".join(Reader(whole).text).split())
    assert "+3.7 points (95 % interval +0.0 to +7.4; paired test by person, p = 0.070, 0.140 corrected)" in text
    assert "no evidence of a difference" in text
    for said in (
        "System gpt was left out",
        "grpo_checkpoint was trained from",
        "5.3 points",
        "byte-equal",
        "0.87",
        "also wrote rows",
        "rubric serves",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("p", "corrected", "gain", "said"),
    [
        (0.001, 0.004, 0.05, "is better than the second"),
        (0.001, 0.004, -0.05, "is worse than the second"),
        (0.02, 0.2, 0.05, "Taken as the one question asked in advance"),
    ],
)
def test_the_verdict_follows_the_test(p: float, corrected: float, gain: float, said: str) -> None:
    results = sample.sample(shown=0)
    results["tests"][0] |= {"p": p, "p_corrected": corrected, "difference": gain}
    assert said in render(results, {})


def test_every_gap_is_marked_and_none_is_printed() -> None:
    html = render(sample.gapped(), {})
    text = " ".join(Reader(html).text)
    assert not re.search(r"\bNone\b|\bnan\b|Undefined", text)
    assert html.count('class="missing"') >= 12
    for said in (
        "The leak probe was not run", "No open answers were judged", "One training seed", "no prices", "one person",
        "No evidence turn is labelled", "not stated", "no pair", "No system wrote memories", "without an interval",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize("part", ["judging", "leak_sizes", "changes", "power"])
def test_any_part_may_be_missing_alone(part: str) -> None:
    assert "Gap." in render({**sample.sample(shown=1), part: None}, {})


def test_unknown_judges_are_gaps() -> None:
    results = sample.sample(shown=0)
    results["judging"] |= {"alpha": None, "anchors": None, "flips": None, "kappa": {"a and b": None}}
    text = " ".join(Reader(render(results, {})).text)
    assert "No anchor file was given" in text
    assert "Flip rates were not measured" in text
    assert "An alpha needs two judges" in text


def test_a_leak_and_a_regression_are_said_in_so_many_words() -> None:
    results = sample.sample(shown=0)
    results["leak_probe"][0] |= {"equal": False, "first_difference": {"variant": "poisoned"}}
    results["regressions"] = ["grpo fell by 3.0 points"]
    html = render(results, {})
    assert "✗ differ (poisoned)" in html
    assert "Regression.</b> grpo fell by 3.0 points" in html


def test_hostile_text_is_text() -> None:
    results = sample.sample(said=sample.HOSTILE, shown=6)
    results["remarks"] = results["provenance"]["remarks"] = [sample.HOSTILE]
    results["shown"][0] |= {
        key: sample.HOSTILE for key in ("query", "topic", "type", "preference", "person_id", "right")
    }
    results["systems"][1]["label"] = sample.HOSTILE
    html = render(results, {})
    found = Reader(html)
    assert found.tags.count("script") == 2
    assert "img" not in found.tags
    assert "<img" not in html
    assert sample.HOSTILE in "".join(found.text)


def long(results: dict[str, Any], words: int) -> dict[str, Any]:
    """The same with histories and memories of 128k tokens and replies that go on and on."""
    line = "- this and that about the person " * 3
    for person, own in results["memories"].items():
        for name, steps in own.items():
            for step in steps:
                step["chunk"] = [f"user: {person} {step['index']} {at} " + "chat " * 60 for at in range(60)]
                step["memory"] = "\n".join(f"{line} {name} {step['index'] // 3} {at}" for at in range(60))
    for question in results["shown"]:
        for own in question["answers"].values():
            own["output"] = "so " * words
    return results


def test_a_page_of_long_histories_stays_small_and_says_what_it_left_out() -> None:
    results = long(sample.sample(persons=120, shown=200, chunks=26), words=2000)
    html = render(results, {})
    assert len(html.encode()) < page.QUESTION_BYTES + page.MEMORY_BYTES + 250_000
    found = re.search(r"another (\d+) did not fit on the page", html)
    shown = html.count('<details class="q"')
    assert found and shown + int(found[1]) == 200
    assert re.search(r"The memories of \d+ more people did not fit", html)
    assert "characters left out here" in html


def test_the_pool_page_stands_alone() -> None:
    html = render_pool(sample.pooled(), "<svg></svg>")
    assert Reader(html).fetched == []
    assert "3 of\n3 GRPO is above SFT" in html
