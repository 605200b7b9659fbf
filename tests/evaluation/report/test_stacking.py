"""Tables whose cells carry the headings of their columns."""

from __future__ import annotations

import re

from markupsafe import Markup

from personamem_pipeline.evaluation.report.stacking import stacked


def labels(html: str) -> list[list[str]]:
    """Of each row of the body: the labels of its cells, empty where there is none."""
    body = html.partition("</thead>")[2]
    return [
        [label or "" for label in re.findall(r'<td(?: data-label="([^"]*)")?', row)]
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    ]


def test_each_cell_but_the_first_is_told_by_its_heading() -> None:
    table = stacked(
        Markup(
            '<thead><tr><th>system</th><th class="n">unparse&shy;able</th><th><code>a/b</code></th><th></th></tr></thead>'
            '<tbody><tr class="x"><td>grpo</td><td class="n">1</td><td>2</td><td>3</td></tr></tbody>'
        ),
        "one",
    )
    assert table.startswith('<table class="stack one"><thead>') and table.endswith("</tbody></table>")
    assert '<td data-label="unparseable" class="n">1</td>' in table
    assert labels(table) == [["", "unparseable", "a/b", ""]]


def test_a_heading_over_several_columns_comes_first() -> None:
    head = (
        '<tr><th rowspan="2">system</th><th colspan="2">writing</th><th rowspan="2">total</th></tr>'
        "<tr><th>in</th><th>out</th></tr>"
    )
    row = "<tr><td>a</td><td>1</td><td>2</td><td>3</td></tr>"
    found = labels(stacked(Markup(f"<thead>{head}</thead><tbody>{row}</tbody>")))
    assert found == [["", "writing, in", "writing, out", "total"]]


def test_headings_between_rows_are_no_cells() -> None:
    rows = '<tr class="group"><th colspan="2">Controls</th></tr><tr><td>a</td><td>1</td></tr>'
    assert labels(stacked(Markup(f"<thead><tr><th>x</th><th>y</th></tr></thead><tbody>{rows}</tbody>"))) == [
        [],
        ["", "y"],
    ]


def test_without_headings_a_table_stays_as_it_is() -> None:
    rows = Markup("<tbody><tr><td>blind</td><td>88</td></tr></tbody>")
    assert stacked(rows) == f"<table>{rows}</table>"
