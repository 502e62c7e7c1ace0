"""The look of all pictures: one palette, one matplotlib style, and how figures are saved.

The neutral colours become CSS variables in `svg`, so that a picture inside a page follows its light
or dark colours.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.core.trial import STATUSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#24292f", "#6e7781", "#d8dee4", "#ffffff"
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}
BLUE, ORANGE, TEAL, ROSE, VIOLET = "#3f7cbf", "#dd8436", "#3f9e86", "#cb5468", "#8a6fc0"
SERIES = (BLUE, ORANGE, TEAL, ROSE, VIOLET, "#b39a2f", "#62b0d5", "#7d8f3f", "#b76fa8")
OTHER = "#9a9aa3"
FAILURES = dict(zip(STATUSES[1:], (OTHER, ORANGE, ROSE, "#b39a2f", VIOLET), strict=True))
MAX_PIXELS = 20_000  # per side; the renderer refuses 65,536
RASTER_ABOVE = 2000  # dots: more are embedded as one bitmap, which keeps pages small

_STYLE: dict[str, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.2,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text, which takes the page's font and can be selected
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@contextlib.contextmanager
def figure_style(**settings: Any) -> Iterator[None]:
    """Applies the project's style while a figure is made or saved; ignores the user's matplotlibrc.

    settings: further matplotlib settings.
    """
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE | settings]):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that size in inches. Call it inside `figure_style()`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    padded = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)  # inches around each panel
    return Figure(figsize=(width, height), layout=padded)


def fix_layout(figure: "Figure") -> None:
    """Lays the figure out once; matplotlib would lay it out again for each file it saves."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def save_png(figure: "Figure", path: Path, *, dpi: float = 160) -> Path:
    """Saves the figure with `dpi` dots per inch, or fewer to keep each side below MAX_PIXELS."""
    with figure_style():
        fix_layout(figure)
        dpi = min(dpi, MAX_PIXELS / max(figure.get_size_inches()))
        figure.savefig(path, dpi=dpi, format="png")
    return path


def svg(figure: "Figure", name: str) -> str:
    """The figure as an <svg> element. Its ids begin with `name`: a page has several pictures."""
    text = io.StringIO()
    with figure_style(**{"svg.hashsalt": name}):
        fix_layout(figure)
        figure.savefig(text, format="svg", dpi=200, metadata={"Date": None})
    body = text.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", body[body.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return body


def whole_numbers(axes: "Axes", most: int) -> None:
    """Sets at most `most` ticks along x, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True))
