"""The page of rollouts: the same every time, closed to hostile texts, bounded; and in a real browser, where there is one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personamem_pipeline.training.grpo.page import changed_lines, spread, write_page
from personamem_pipeline.training.grpo.table import RolloutTable
from personamem_pipeline.training.grpo.watch import memory_change
from tests.browser.chromium import NAMES, Page, browser, find_browser
from tests.browser.test_viewer import CONTRAST, NAMELESS
from tests.questions.test_viewer import Elements
from tests.training.hand_made import HOSTILE, answer, item, labels, reply, scored, write

EXECUTABLE = find_browser()


def table(path: Path, steps: int = 3) -> RolloutTable:
    """Some steps of two rollouts, of which the first step's are hostile in every text."""
    made = RolloutTable(path, page_every=10**6)
    for step in range(1, steps + 1):
        text = HOSTILE if step == 1 else "- green tea"
        best = scored(
            [answer(1.0, choice=1.0), answer(None)],
            items=[item(query=text), item(kind="open", query="And to eat?")],
            replies=[reply(text), reply("a " * 200, finished=False)],
            turns=[
                write(0, f"- wine\n{text}", prompt=text),
                write(1, f"- wine\n{text}", kept="empty", said=reply("<think>")),
                write(2, f"{text}\n- speed chess", said=reply(f"<think>so</think>{text}")),
            ],
            labelled=[labels("green tea")] * 3,
            turn_parts={"length": -0.5},
        )
        made.add(step, [best, scored([answer(step / 8, choice=0.0)])])
    return made


def blocks(page: str) -> list[dict[str, Any]]:
    found = Elements(page).found
    return [json.loads("".join(text)) for tag, a, text in found if tag == "script" and a.get("class") == "step"]


def test_every_kept_turn_is_on_the_page_with_what_it_changed(tmp_path: Path) -> None:
    first, second, _ = blocks(table(tmp_path / "rollouts.jsonl").page().read_text(encoding="utf-8"))
    assert [rollout["reward"] for rollout in first["rollouts"]] == [1.0, 0.125]
    rows = second["rollouts"][0]["rows"]
    assert [row["kind"] for row in rows] == ["write"] * 3 + ["answer"] * 2
    assert rows[0]["lines"] == [["+", "- wine"], ["+", "- green tea"]]
    assert rows[1]["lines"] == [[" ", "- wine"], [" ", "- green tea"]] and rows[1]["kept"] == "empty"
    assert rows[2]["lines"] == [["-", "- wine"], [" ", "- green tea"], ["+", "- speed chess"]]
    assert [row["reply"] for row in rows[:2]] == [None, "<think>"], "a reply that became the memory is there once"
    assert first["rollouts"][0]["rows"][3]["query"] == HOSTILE


def test_nothing_is_loaded_and_no_text_becomes_markup(tmp_path: Path) -> None:
    page = table(tmp_path / "rollouts.jsonl").page().read_text(encoding="utf-8")
    found = Elements(page).found
    assert not {tag for tag, _, _ in found} & {"img", "link", "iframe", "object", "base", "form", "svg"}
    for _, attributes, _ in found:
        assert not {"src", "srcset", "href", "style", "onerror", "onclick"} & set(attributes)
    code = "".join("".join(text) for tag, a, text in found if tag == "style" or (tag == "script" and "type" not in a))
    assert "innerHTML" not in code and not re.search(r"https?:|url\(|@import|fetch\(|import\(", code)
    assert str(tmp_path) not in page


def test_the_same_lines_give_the_same_bytes(tmp_path: Path) -> None:
    own = table(tmp_path / "rollouts.jsonl")
    first = own.page().read_bytes()
    with own.path.open("ab") as file:
        file.write(b'{"step": 4, "half a li')
    assert own.page().read_bytes() == first
    assert not list(tmp_path.glob(".*"))


def test_a_long_run_shows_steps_spread_over_it(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(table(tmp_path / "rollouts.jsonl", steps=9).path, page, most=3)
    assert [block["step"] for block in blocks(page.read_text())] == [1, 5, 9]
    assert "3 of 9 steps" in page.read_text()


def test_a_run_without_steps_has_a_page_that_says_so(tmp_path: Path) -> None:
    page = RolloutTable(tmp_path / "rollouts.jsonl").page().read_text()
    assert blocks(page) == [] and "rollouts.jsonl holds no step yet" in page


@given(st.integers(0, 300), st.integers(2, 80))
def test_spread_keeps_both_ends_and_no_step_twice(count: int, most: int) -> None:
    shown = spread(range(count), most)
    assert len(shown) == min(count, most) == len(set(shown)) and shown == sorted(shown)
    assert not count or (shown[0], shown[-1]) == (0, count - 1)


MEMORIES = st.lists(st.sampled_from("abcdef"), unique=True).map("\n".join)


@given(MEMORIES, MEMORIES)
def test_marks_tell_what_the_change_ratio_counts(before: str, after: str) -> None:
    marks = changed_lines(before, after)
    assert [line for mark, line in marks if mark != "-"] == after.splitlines()
    assert sorted(line for mark, line in marks if mark == "-") == sorted(
        set(before.splitlines()) - set(after.splitlines())
    )
    assert {line for mark, line in marks if mark == "+"} == set(after.splitlines()) - set(before.splitlines())
    assert (memory_change(before, after) == 0) == all(mark == " " for mark, _ in marks)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if EXECUTABLE is None:
        pytest.skip(f"no browser on PATH: none of {', '.join(NAMES)}")
    with browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_people_can_walk_the_steps_and_read_them_on_a_phone(tab: Page, tmp_path: Path) -> None:
    file = table(tmp_path / "rollouts.jsonl").page()
    tab.window(1280, 900)
    tab.open(file)
    shown = "document.querySelector('#step').innerText"
    assert tab.run("document.querySelector('#steps').value") == "2", "the newest step first"
    assert "rollout 0 · t0 · mean reward 1" in tab.run(shown) and "mean reward 0.375" in tab.run(shown)
    assert tab.run("[...document.querySelectorAll('.line.gone')].map((n) => n.textContent)") == ["\N{MINUS SIGN}- wine"]
    assert tab.run("document.querySelectorAll('.line.new').length") == 3
    assert "kept as it was: the reply was empty" in tab.run(shown) and "cut off" in tab.run(shown)
    tab.key("k")
    tab.wait("location.hash === '#step=2'")
    tab.open(file, "#step=1")
    assert tab.run("document.querySelector('.query').textContent") == HOSTILE
    assert tab.run("document.querySelectorAll('img, #step script').length") == 0
    assert tab.run("document.querySelector('#previous').disabled")
    tab.click("#next")
    tab.wait("location.hash === '#step=2'")
    for width, dark in ((390, False), (390, True), (1280, True), (1280, False)):
        tab.window(width, 844, dark=dark)
        tab.open(file, "#step=1")
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.run(CONTRAST) == [] and tab.run(NAMELESS) == []
    assert not tab.errors and all(url.startswith("file:") for url in tab.requests if url != "about:blank")
