"""The benchmark report in a real browser: on a desk, on a phone, without its script, and that it stays offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from personamem_pipeline.evaluation.report import write_report
from tests.browser.chromium import NAMES, Page, browser, find_browser
from tests.browser.test_viewer import CONTRAST, NAMELESS
from tests.evaluation.report import sample

EXECUTABLE = find_browser()
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason=f"no browser on PATH: none of {', '.join(NAMES)}")

DESK, PHONE = (1280, 900), (390, 844)
LISTED = "[...document.querySelectorAll('.q')].filter((node) => !node.hidden)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert EXECUTABLE is not None
    with browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose models and judges say hostile things."""
    directory = tmp_path_factory.mktemp("report")
    results = sample.sample(said=sample.HOSTILE, persons=6)
    write_report(directory, results, curves=sample.curves(), rows={}, pooled=sample.pooled())
    return directory / "report.html"


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """The tab at a desk's size; whatever a test does, the page asks for nothing but itself and raises no error."""
    tab.window(*DESK)
    tab.requests.clear()
    tab.errors.clear()
    yield tab
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    tab.run("1")  # events that are still on their way come before its answer
    assert not tab.errors
    assert tab.requests and all(url.startswith("file:") for url in tab.requests)


def choose(page: Page, name: str, value: str) -> None:
    field = f"document.querySelector('#filter [name={name}]')"
    page.run(f"{field}.value = {value!r}; {field}.dispatchEvent(new Event('input', {{ bubbles: true }}))")


SIDEWAYS = """
[...document.querySelectorAll("body *")].filter((node) => {
  const flow = getComputedStyle(node).overflowX;
  return node.clientWidth > 0 && node.scrollWidth > node.clientWidth + 1 && (flow === "auto" || flow === "scroll");
}).map((node) => `${node.tagName} ${node.getAttribute("aria-label")}: ${node.scrollWidth} in ${node.clientWidth}`)
"""
SMALLEST = """
Math.min(...[...document.querySelectorAll("figure svg")].filter((svg) => svg.checkVisibility()).map((svg) => {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return Math.min(...[...svg.querySelectorAll("text")].map((text) => scale * parseFloat(getComputedStyle(text).fontSize)));
}))
"""
"""The smallest text of any figure in CSS pixels."""


@pytest.mark.parametrize("size", [DESK, PHONE, (320, 640)], ids=["desk", "phone", "narrow"])
def test_nothing_must_be_pushed_sideways(page: Page, file: Path, size: tuple[int, int]) -> None:
    """Not one table or figure, with everything open: none is allowed to. What figures say can be read."""
    page.window(*size)
    page.open(file)
    page.run("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    page.wait("document.querySelectorAll('.slot.filled').length === 30")
    assert page.run(SIDEWAYS) == []
    assert page.run("[...document.querySelectorAll('figure svg')].filter((svg) => svg.checkVisibility()).length") == 13
    assert page.run(SMALLEST) >= (9 if size != (320, 640) else 7.5)


def test_a_phone_stacks_a_rows_cells_with_their_headings(page: Page, file: Path) -> None:
    row = "document.querySelector('[aria-label=\"Headline table\"] tr.model')"
    before = f"getComputedStyle({row}.children[1], '::before').content"
    page.window(*DESK)
    page.open(file)
    assert page.run(before) == "none"
    page.window(*PHONE)
    assert page.run(before) == '"accuracy"'
    tops = page.run(f"[...{row}.children].map((cell) => cell.getBoundingClientRect().top)")
    assert tops[0] < tops[1] == tops[2] < tops[3], "the name, then two cells a line"


def test_other_systems_are_a_click_away(page: Page, file: Path) -> None:
    page.open(file)
    heads = "[...document.querySelectorAll('[aria-label^=\"Accuracy by type\"]')].map((box) => box.checkVisibility())"
    assert page.run(heads) == [True, False, False]
    page.click("#types ~ details > summary")
    assert page.run(heads) == [True, True, True]


@pytest.mark.parametrize("size", [DESK, PHONE, (320, 640)], ids=["desk", "phone", "narrow"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_and_can_be_read(page: Page, file: Path, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    page.window(*size, dark=dark)
    page.open(file)
    page.run("document.querySelectorAll('#q0, #memories, main > details').forEach((box) => { box.open = true; })")
    page.wait("document.querySelector('#q0 .walker')")
    assert page.run("innerWidth") == size[0]
    assert page.run("document.documentElement.scrollWidth") <= size[0], "nothing sticks out to the side"
    assert page.run(CONTRAST) == []
    assert page.run(NAMELESS) == []
    page.screenshot(tmp_path / "view.png")
    assert (tmp_path / "view.png").stat().st_size > 5_000


def test_the_filter_finds_by_type_outcome_system_and_text(page: Page, file: Path) -> None:
    page.open(file)
    assert page.run(f"{LISTED}.length") == 20, "the first page of the list"
    page.click("#more")
    assert page.run(f"{LISTED}.length") == 30
    choose(page, "type", "sensitive_info")
    assert page.run("document.getElementById('found').textContent") == "4 of 30 questions"
    assert page.run(f"{LISTED}.every((node) => node.querySelector('.meta').textContent.startsWith('sensitive info'))")
    choose(page, "type", "")
    counts = {}
    for outcome in ("all", "some", "none"):
        choose(page, "outcome", outcome)
        counts[outcome] = int(str(page.run("document.getElementById('found').textContent")).split()[0])
    assert sum(counts.values()) == 30 and min(counts.values()) > 0
    choose(page, "system", "longest")
    assert int(str(page.run("document.getElementById('found').textContent")).split()[0]) != counts["none"]
    choose(page, "outcome", "")
    choose(page, "text", "DINNER b0017.s1")
    assert page.run(f"{LISTED}.map((node) => node.id)") == ["q17"]


def test_a_question_shows_each_memory_after_each_chunk(page: Page, file: Path) -> None:
    page.open(file)
    page.click("#q1 summary")
    page.wait("document.querySelector('#q1 .walker')")
    step = "document.querySelector('#q1 .step:not([hidden])')"
    assert page.run(f"{step}.querySelector('h5').textContent") == "After chunk 1 of 4"
    assert page.run(f"{step}.querySelectorAll('.chunk .evidence').length") == 1
    before = page.run(f"[...{step}.querySelectorAll('.cell')].map((cell) => cell.dataset.system)")
    assert before == ["base", "sft", "grpo"]
    page.run("document.querySelector('#q1 .walker input').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    page.wait(f"{step}.querySelector('h5').textContent === 'After chunk 2 of 4'")
    for _ in range(2):
        page.click("#q1 .walker button:nth-child(2)")
    memories = sample.sample(said=sample.HOSTILE, persons=6)["memories"]["b0001"]
    held = "[...cell.querySelectorAll('.lines > p:not(.gone)')].map((line) => line.textContent)"
    shown = page.run(f"[...{step}.querySelectorAll('.cell')].map((cell) => {held})")
    assert shown == [memories[name][-1]["memory"].split("\n") for name in before], "whole, put together from changes"
    assert page.run("document.querySelector('#q1 .walker button:nth-child(2)').disabled")


def test_hostile_texts_are_texts(page: Page, file: Path) -> None:
    page.open(file)
    page.run("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    page.wait("document.querySelectorAll('.slot.filled').length === 30")
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.run("document.title") == "Benchmark report"
    assert sample.HOSTILE in page.run("document.querySelector('#q0 .answers').textContent")
    assert sample.HOSTILE in page.run("document.querySelector('#q0 .open').textContent")
    assert page.run("[...document.querySelectorAll('#q0 .lines p')].map((p) => p.textContent)").count(sample.HOSTILE)


def test_an_address_opens_its_question_although_it_is_not_listed(page: Page, file: Path) -> None:
    page.open(file, "#q27")
    page.wait("document.querySelector('#q27').open && !document.querySelector('#q27').hidden")
    page.run("location.hash = 'memory2'")
    page.wait("document.querySelector('#memories').open")


def test_without_its_script_only_the_filter_is_missing(page: Page, file: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.call("Page.navigate", url=file.resolve().as_uri())
    page.wait("document.readyState === 'complete' && document.querySelector('#provenance')")
    assert not page.run("document.querySelector('#filter').checkVisibility()")
    assert page.run("[...document.querySelectorAll('.q')].filter((node) => node.checkVisibility()).length") == 30
    page.click("#q0 summary")
    assert page.run("document.querySelector('#q0 .answers').checkVisibility()")
    page.click("#memories > summary")
    assert page.run("document.querySelector('#memory0 .step').checkVisibility()")
    assert "as before" in page.run("document.querySelector('#memory0').textContent")
