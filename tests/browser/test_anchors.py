"""The labelling page in a real browser: keys, names, what is saved, hostile texts, and a page that asks for no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from personamem_pipeline.evaluation.judging import anchors, anchors_page
from personamem_pipeline.evaluation.judging.briefs import Brief, brief
from tests.browser.chromium import NAMES, Page, browser, find_browser
from tests.evaluation.judging.cases import message, question

EXECUTABLE = find_browser()
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason=f"no browser on PATH: none of {', '.join(NAMES)}")
HOSTILE = "</script><img src=x onerror=document.title='gone'> =1+1"


def case(text: str) -> Brief:
    return brief(question(0), [message("p0.q0", f"My {text}\nand more")], text)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert EXECUTABLE is not None
    file = tmp_path_factory.mktemp("anchors") / "anchors.html"
    anchors_page.write_page(
        file, {"a1": case("Try green tea."), "a2": case(HOSTILE), "a3": case("=x")}, ["a1", "a2", "a3"]
    )
    with browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as tab:
        tab.window(390, 844)
        tab.open(file)
        yield tab
        assert not tab.errors and all(url.startswith(("file:", "blob:")) for url in tab.requests)


def shown(page: Page, name: str) -> str:
    return str(page.run(f"document.getElementById('{name}').innerText"))


def test_a_person_scores_with_keys_and_saves_what_the_check_reads(page: Page, tmp_path: Path) -> None:
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), "it fits a phone"
    assert shown(page, "answer") == "Try green tea." and "and more" in shown(page, "evidence")
    page.key("1")
    assert shown(page, "answer") == HOSTILE and page.run("document.title") == "Score 3 answers"
    page.click("[data-score='0.5']")
    page.key("0")
    page.key("Backspace")
    assert shown(page, "progress") == "answer 3 of 3, 2 scored"
    page.click("#save")
    assert shown(page, "progress") == "first say who you are"
    assert page.run("document.activeElement.id") == "annotator"
    for letter in "=1 Ann":
        page.key(letter)
    assert page.run("Object.keys(state.scores).length") == 2, "digits in a name score nothing"
    path = tmp_path / "saved.csv"
    path.write_text(page.run("table()"), encoding="utf-8", newline="")
    found = anchors.read_anchors(path, known={"a1": case("Try green tea."), "a2": case(HOSTILE), "a3": case("=x")})
    assert found.scores == {("a1", "=1 Ann"): 1.0, ("a2", "=1 Ann"): 0.5}
    page.run("location.reload()")
    page.wait(
        "document.readyState === 'complete' && document.getElementById('progress').innerText.includes('2 scored')"
    )
