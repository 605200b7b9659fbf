"""Tables that a phone can show: every cell carries the heading of its column, so that a narrow page can stack a row's cells
under each other as `heading value` (`style.css.j2`), and nobody has to push a table sideways.
"""

from __future__ import annotations

import re

from markupsafe import Markup

_ROW = re.compile(r"<tr[^>]*>.*?</tr>", re.DOTALL)
_HEADING = re.compile(r"<th([^>]*)>(.*?)</th>", re.DOTALL)
_CELL = re.compile(r"<td")
_SPAN = re.compile(r'(col|row)span="(\d+)"')
_MARKUP = re.compile(r"<[^>]*>|&shy;")


def stacked(rows: Markup, more: str = "") -> Markup:
    """A `<table>` of the rows of a template of ours, which close all their elements.

    With a `<thead>` each cell but a row's first gets `data-label`, and the table the class `stack` (and `more`); headings
    over several columns come first in the labels of theirs.
    """
    head, found, body = str(rows).partition("</thead>")
    if not found:
        return Markup(f"<table>{rows}</table>")
    labels = _labels(head)
    body = _ROW.sub(lambda row: _labelled(row[0], labels), body)
    return Markup(f'<table class="{f"stack {more}".strip()}">{head}{found}{body}</table>')


def _labels(head: str) -> list[str]:
    """Heading of each column, from one or more rows of headings."""
    grid: dict[tuple[int, int], str] = {}
    for line, row in enumerate(_ROW.findall(head)):
        column = 0
        for attributes, content in _HEADING.findall(row):
            spans = {name: int(number) for name, number in _SPAN.findall(attributes)}
            while (line, column) in grid:
                column += 1
            for down in range(spans.get("row", 1)):
                for right in range(spans.get("col", 1)):
                    grid[line + down, column + right] = " ".join(_MARKUP.sub("", content).split())
    columns = 1 + max((column for _, column in grid), default=-1)
    rows = 1 + max((line for line, _ in grid), default=-1)
    return [", ".join(dict.fromkeys(grid.get((line, column), "") for line in range(rows))) for column in range(columns)]


def _labelled(row: str, labels: list[str]) -> str:
    names = iter(labels)

    def cell(match: re.Match[str]) -> str:
        label = next(names, "")
        return match[0] if match.start() == first or not label else f'{match[0]} data-label="{label}"'

    first = row.find("<td")
    return _CELL.sub(cell, row)
