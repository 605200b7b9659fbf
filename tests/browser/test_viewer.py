"""The viewer in a real browser: what people see, click and type, on a desk and on a phone, and that it stays offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from personamem_pipeline.questions.viewer import write_viewer
from tests.browser import people
from tests.browser.chromium import NAMES, Page, browser, find_browser

EXECUTABLE = find_browser()
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason=f"no browser on PATH: none of {', '.join(NAMES)}")

DESK, PHONE = (1280, 900), (390, 844)
CONTRAST = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || !node.getClientRects().length) continue;
    const [a, b] = [light(numbers(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([node.className, node.textContent.slice(0, 30), ratio]);
  }
  return found;
})()"""
"""Visible texts whose contrast is under 4.5 to 1 (WCAG 2.2, 1.4.3, level AA)."""
NAMELESS = """[...document.querySelectorAll("a, button, input, select, summary")]
  .filter((node) => node.checkVisibility() && !node.closest("[aria-hidden=true]"))
  .filter((node) => !(node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length))
  .map((node) => node.outerHTML)"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert EXECUTABLE is not None
    with browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("viewer") / "viewer.html"
    write_viewer(
        target,
        title="Benchmark by hand",
        histories=people.histories(),
        questions=people.questions(),
        personas=people.personas(),
        rejected=people.REJECTED,
        facts={"version": "sha256 of nothing", "written": "6", "hostile": people.HOSTILE},
    )
    return target


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """The tab at a desk's size; whatever a test does, the page asks for nothing but itself and raises no error."""
    tab.window(*DESK)
    tab.requests.clear()
    tab.errors.clear()
    yield tab
    tab.run("1")  # events that are still on their way come before its answer
    assert not tab.errors
    assert tab.requests and all(url.startswith("file:") for url in tab.requests)


def texts(page: Page, selector: str) -> list[str]:
    """The visible texts of what a selector finds."""
    nodes = f"[...document.querySelectorAll({selector!r})]"
    return [str(text) for text in page.run(f"{nodes}.filter((n) => n.checkVisibility()).map((n) => n.innerText)")]


def on_screen(page: Page, selector: str) -> bool:
    box = f"document.querySelector({selector!r}).getBoundingClientRect()"
    return bool(page.run(f"{box}.top >= 0 && {box}.top < innerHeight"))


def enter(page: Page, selector: str, value: str, event: str) -> None:
    field = f"document.querySelector({selector!r})"
    page.run(f"{field}.value = {value!r}; {field}.dispatchEvent(new Event({event!r}))")


def test_the_overview_lists_persons_and_figures(page: Page, file: Path) -> None:
    page.open(file)
    names = texts(page, "#list a b")
    assert names[0] == "Ines Moreau" and names[1].startswith("Bobby </script>") and len(names) == 2
    assert "2 of 3 questions admitted" in texts(page, "#list a")[0]
    assert texts(page, ".tile b") == ["2", "4", "2", "2", "666"]
    assert "schema" in page.run("document.querySelector('#overview').innerText")
    assert page.run("document.querySelectorAll('#person *').length") == 0, "nobody is built before somebody looks"


def test_evidence_is_highlighted_and_says_what_it_reveals(page: Page, file: Path) -> None:
    page.open(file, "#person=p1")
    marked = page.run(
        "[...document.querySelectorAll('.turn.evidence')]"
        ".map((node) => [node.dataset.turn, node.querySelector('.given span').innerText])"
    )
    assert marked == [
        ["p1.s01.t0", "reveals: strong black tea"],
        ["p1.s02.t0", "reveals: speed chess in the park"],
        ["p1.s04.t0", "updates: strong black tea → hot cocoa at night"],
        ["p1.s05.t0", "reveals: salsa nights"],
        ["p1.s06.t0", "asks to forget: speed chess in the park"],
    ]
    background = "getComputedStyle(document.querySelector('.turn%s')).backgroundColor"
    assert page.run(background % ".evidence") != page.run(background % ".user:not(.evidence), .assistant")
    assert "replaced by: hot cocoa at night" in texts(page, ".preferences li")[0]
    assert "somebody else's" in texts(page, ".preferences li")[3]
    assert texts(page, ".rejected summary div") == ["schema: no JSON came back", "length: the longest"]


def test_filler_is_folded_until_somebody_opens_it(page: Page, file: Path) -> None:
    page.open(file, "#person=p1")
    boxes = page.run(
        "[...document.querySelectorAll('.session')].map((n) => [n.classList[1], n.open, n.querySelectorAll('.turn').length])"
    )
    assert (
        boxes[0] == ["small_talk", False, 0] and boxes[3] == ["padding", False, 0] and boxes[1] == ["reveals", True, 2]
    )
    page.click(".session.padding summary")
    page.wait("document.querySelectorAll('.session.padding .turn').length === 2")
    page.click("#person label input")
    assert len(texts(page, ".session")) == 5


def test_a_question_shows_its_options_and_its_certificate(page: Page, file: Path) -> None:
    page.open(file, "#person=p1&question=p1.b.q0")
    question = "[data-question='p1.b.q0']"
    assert page.run(f'document.querySelector("{question}").open') and on_screen(page, question)
    assert texts(page, f"{question} .options .mark") == ["✓ right", "✗ previous", "✗ generic", "✗ stereotypical"]
    rows = {row.split("\t")[0]: row.split("\t")[1] for row in texts(page, f"{question} tbody tr")}
    assert rows == {
        "blind": "75 %", "· reader/a": "75 %", "· reader/b": "50 %", "oracle": "100 %", "update": "100 %", "swapped": "25 %",
        "query leak": "no", "implicitness": "100 %", "longest guess": "0 %", "shortest guess": "50 %",
    }  # fmt: skip
    page.click("[data-question='p1.d.q0'] summary")
    assert "swapped\t25 %\tnot bound" in "".join(texts(page, "[data-question='p1.d.q0'] tbody tr")), (
        "not the user's taste"
    )
    assert texts(page, f"{question} .reasons li")[1] == "leak: the query names the preference"


def test_evidence_leads_to_its_turn_and_back(page: Page, file: Path) -> None:
    page.open(file, "#person=p1")
    page.click("[data-question='p1.b.q0'] summary")
    page.click("[data-question='p1.b.q0'] .chip")
    page.wait("document.querySelector('.target')?.dataset.turn === 'p1.s01.t0'")
    assert on_screen(page, ".target") and page.run("document.activeElement.dataset.turn") == "p1.s01.t0"
    page.run("history.back()")
    page.wait("document.querySelector('.target')?.dataset.question === 'p1.b.q0'")
    page.click("[data-turn='p1.s04.t0'] .given a")
    page.wait("location.hash.endsWith('question=p1.b.q0')")
    assert "not in this history" in page.run("document.querySelector('.chip.gone').textContent")


def test_hostile_texts_are_texts(page: Page, file: Path) -> None:
    page.open(file, "#person=p2&question=p2.a.q0")
    assert page.run("document.querySelectorAll('img, #person script').length") == 0
    assert page.run("document.querySelector('.query').textContent") == people.HOSTILE
    assert page.run("document.querySelector('.turn.user .text').textContent") == f"Polish this: {people.HOSTILE}"
    assert (
        page.run("document.querySelector('.session + .session, .turn.system .text').textContent")
        == f"profile {people.HOSTILE}"
    )
    assert page.run("document.querySelector('.reasons li').textContent") == people.HOSTILE
    assert "alert(1)" in page.run("document.querySelector('#overview .facts').textContent")
    assert page.run("document.title").startswith("Bobby </script>")


def test_released_rows_show_evidence_that_only_questions_know(page: Page, tmp_path: Path) -> None:
    history = people.histories()[1]
    silent = tuple(session.model_copy(update={"preference": None, "evidence": ()}) for session in history.sessions)
    write_viewer(
        tmp_path / "viewer.html",
        title="Released",
        histories=[history.model_copy(update={"sessions": silent})],
        questions=people.questions(),
        facts={},
    )
    page.open(tmp_path / "viewer.html", "#person=p2")
    assert texts(page, ".given span") == [f"evidence: {people.HOSTILE}"]
    page.click(".preferences .chip")
    page.wait("document.querySelector('.target')?.dataset.turn === 'p2.s00.t0'")


def test_search_filters_and_keys(page: Page, file: Path) -> None:
    page.open(file)
    page.key("/")
    for letter in "cocoa":
        page.key(letter)
    assert texts(page, "#list a b") == ["Ines Moreau"] and texts(page, "#found")[0].startswith("1 of 2 persons")
    page.key("Escape")
    page.key("j")
    page.wait("document.querySelector('#list a[aria-current=page]')?.innerText.includes('Ines')")
    enter(page, "#search", "", "input")
    page.key("j")
    page.wait("location.hash === '#person=p2'")
    page.key("j")
    page.key("k")
    page.wait("location.hash === '#person=p1'")
    enter(page, "[data-filter=updated]", "yes", "change")
    assert len(texts(page, ".question")) == 1 and texts(page, "#list a b") == ["Ines Moreau"]
    enter(page, "[data-filter=admitted]", "yes", "change")
    assert texts(page, "#list a b") == [] and texts(page, ".question") == []


@pytest.mark.parametrize("size", [DESK, PHONE, (320, 640)], ids=["desk", "phone", "narrow"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_and_can_be_read(page: Page, file: Path, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    page.window(*size, dark=dark)
    for fragment in ("", "#person=p1&question=p1.b.q0", "#person=p2&turn=p2.s00.t0"):
        page.open(file, fragment)
        page.run("document.querySelectorAll('main details').forEach((box) => { box.open = true; })")
        assert page.run("innerWidth") == size[0]
        assert page.run("document.documentElement.scrollWidth") <= size[0], "nothing sticks out to the side"
        assert page.run(CONTRAST) == []
        assert page.run(NAMELESS) == []
        page.screenshot(tmp_path / "view.png")
        assert (tmp_path / "view.png").stat().st_size > 5_000


def test_on_a_phone_the_list_gives_way_to_the_person(page: Page, file: Path) -> None:
    page.window(*PHONE)
    page.open(file)
    assert len(texts(page, "#list a b")) == 2
    page.click("#list a")
    page.wait("document.querySelector('#person h2')")
    assert texts(page, "#list a b") == [] and on_screen(page, "#person h2")
