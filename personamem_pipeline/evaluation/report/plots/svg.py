"""A figure as files and as an element of the page: SVG and PNG, the same bytes on every run.

In the SVG that goes *into* the page, ink is `currentColor`, so that it follows light and dark mode.
"""

from __future__ import annotations

import io
import re
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from personamem_pipeline.evaluation.report.plots.style import INK, STYLE


def publish(figure: Figure, directory: Path, name: str, description: str) -> str:
    """Write `<name>.svg` and `<name>.png` into `directory`, and return the figure as an `<svg>` element for the page."""
    directory.mkdir(parents=True, exist_ok=True)
    bounds = figure.get_tightbbox().padded(0.1)  # once for both files; "tight" would lay the figure out again for each
    svg = _svg(figure, name, bounds)
    (directory / f"{name}.svg").write_text(svg.replace("<svg ", '<svg style="background: white" ', 1))
    figure.savefig(
        directory / f"{name}.png", dpi=144, bbox_inches=bounds, facecolor="white", metadata={"Software": None}
    )
    return _element(svg, name, description)


def inline(figure: Figure, name: str, description: str) -> str:
    """A figure that is for the page alone, as an `<svg>` element."""
    return _element(_svg(figure, name, figure.get_tightbbox().padded(0.05)), name, description)


def _svg(figure: Figure, name: str, bounds: Bbox) -> str:
    """Without the dates and versions that would change its bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", bbox_inches=bounds, transparent=True, metadata={"Date": None, "Creator": None}
        )
    return buffer.getvalue().decode()


def _element(svg: str, name: str, description: str) -> str:
    """Ids of its own, ink in the page's text colour, what it shows in words, and no style that reaches the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg).replace(INK, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)
