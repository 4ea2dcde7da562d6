"""The charts of the report: matplotlib, written as SVG to be set into the page.

Every chart is drawn at about the width of a phone, so that its text is readable there without a second version, and a
wide page sets two or three side by side. Colours are written as CSS variables of the page, so that one drawing serves
light and dark. The same numbers give the same bytes.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hornbook.report.record import LossPoint, Score, ScoreBin

# Colours that stand for a CSS variable until the SVG is written.
INK, MUTED, LINE, FAINT = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0a00{i:02x}" for i in range(1, 7))
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", FAINT: "--faint"} | {
    colour: f"--series-{i}" for i, colour in enumerate(SERIES, 1)
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be selected, and takes the font of the page
    "svg.hashsalt": "hornbook",
    "text.parse_math": False,  # labels are text of the user's
    "font.family": "DejaVu Sans",  # wider than the fonts a browser will take, so that nothing runs together
    "font.size": 12.5,
    "axes.linewidth": 0.8,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "path.simplify": False,
}
MOST_POINTS = 300  # of a curve: more cannot be seen at this size
NAME_WIDTH, NAME_HEIGHT = 60, 13  # of a curve's name, in units of the picture
SMOOTHING = 0.8  # share of the last average in the bold loss curve


@dataclass(frozen=True, slots=True)
class Bar:
    """A rate in percent with its 95% interval. `height` None: not measured, and `note` is drawn in its place."""

    name: str
    series: int  # which colour, from 0
    height: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class BarGroup:
    """Bars that stand together, above one name."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """The losses of one training run."""

    name: str
    series: int
    points: Sequence[LossPoint]


@dataclass(frozen=True, slots=True)
class Growth:
    """A measure of the first n texts of a set, and of the corpus at one number of texts. None: not measured."""

    label: str  # of the measure
    name: str  # of the set
    points: Sequence[tuple[int, float | None]]
    corpus: tuple[int, float | None] | None = None


def rate_bars(key: str, title: str, groups: Sequence[BarGroup], top: float) -> str:
    """Grouped bars of rates from 0 to `top` percent, each with its interval and its number."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(420, 310)
        width, gap = 1.0, 0.9
        centre = 0.0
        ticks, names = [], []
        for group in groups:
            first = centre
            for bar in group.bars:
                _bar(axes, centre, bar, top)
                ticks.append(centre)
                names.append(bar.name)
                centre += width
            middle = (first + centre - width) / 2
            axes.annotate(
                group.name, (middle, 0), xycoords=("data", "axes fraction"), xytext=(0, -28),
                textcoords="offset points", ha="center", va="top", fontsize=12.5,
            )  # fmt: skip
            centre += gap
        axes.set_xticks(ticks, names)
        axes.tick_params(axis="x", length=0, labelcolor=INK)
        axes.set_xlim(-0.8, centre - gap - width + 0.8)
        axes.set_ylim(0, top)
        axes.set_ylabel("problems solved, pass@1 (%)")
        figure.subplots_adjust(left=0.125, right=0.985, top=0.95, bottom=0.255)
        axes.set_xlabel("test set", labelpad=29)
        return _svg(figure, key, title)


def _bar(axes: Axes, x: float, bar: Bar, top: float) -> None:
    if bar.height is None:
        axes.text(x, top * 0.03, bar.note, rotation=90, ha="center", va="bottom", fontsize=11.5, color=MUTED)
        return
    axes.bar(x, bar.height, 0.8, color=SERIES[bar.series % len(SERIES)], linewidth=0)
    above = bar.height
    if bar.low is not None and bar.high is not None:
        axes.plot([x, x], [bar.low, bar.high], color=INK, linewidth=1.2, solid_capstyle="butt")
        axes.plot([x, x], [bar.low, bar.high], color=INK, linewidth=0, marker="_", markersize=7)
        above = max(above, bar.high)
    axes.text(x, above + top * 0.012, f"{bar.height:.1f}", ha="center", va="bottom", fontsize=11.5)


def bits_dots(key: str, title: str, scores: Sequence[tuple[str, int, Score]]) -> str:
    """Bits per byte of each model (name, series, score) on one task, with intervals: a dot plot, lower is better."""
    with mpl.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure, axes = _canvas(310, 82 + 32 * len(scores))
        for row, (_, series, score) in enumerate(scores):
            colour = SERIES[series % len(SERIES)]
            if score.value is None:
                axes.annotate("unavailable", (0.02, row), xycoords=("axes fraction", "data"), va="center", color=MUTED)
                continue
            if score.low is not None and score.high is not None:
                axes.plot([score.low, score.high], [row, row], color=colour, linewidth=2)
            axes.plot([score.value], [row], color=colour, linewidth=0, marker="o", markersize=8)
            axes.annotate(
                f"{score.value:.3f}", (score.value, row), xytext=(0, 8), textcoords="offset points",
                ha="center", fontsize=11.5,
            )  # fmt: skip
        names = [_short(name, 12) for name, _, _ in scores]
        axes.set_yticks(range(len(scores)), names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(scores) - 0.5, -0.9)
        axes.set_ylabel("model")
        axes.set_xlabel("bits per byte (lower is better)")
        axes.margins(x=0.16)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        left = (36 + 7.4 * max(map(len, names))) / 310  # the axis' title, and its names at about 7.4 pixels a letter
        figure.subplots_adjust(left=left, right=0.97, top=0.98, bottom=46 / (82 + 32 * len(scores)))
        return _svg(figure, key, title)


def loss_curves(key: str, title: str, curves: Sequence[Curve]) -> str:
    """Training loss against tokens: each step thin, and its exponential average bold, named at its end."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(420, 310)
        ends = []
        for curve in curves:
            colour = SERIES[curve.series % len(SERIES)]
            tokens, losses = _thinned(curve.points, [point.loss for point in curve.points])
            _, smooth = _thinned(curve.points, _averaged([point.loss for point in curve.points]))
            axes.plot(tokens, losses, color=colour, linewidth=0.7, alpha=0.4)
            axes.plot(tokens, smooth, color=colour, linewidth=1.8)
            ends.append((float(tokens[-1]), float(smooth[-1]), curve.name, colour))
        axes.set_ylabel("loss (nats per token)")
        axes.set_ylim(bottom=0)
        _token_axis(figure, axes, curves)
        _name_ends(axes, ends)
        return _svg(figure, key, title)


def learning_rates(key: str, title: str, curves: Sequence[Curve]) -> str:
    """The learning-rate schedule of every model against tokens."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(420, 310)
        for style, curve in zip(_dashes(), curves, strict=False):
            colour = SERIES[curve.series % len(SERIES)]
            tokens, rates = _thinned(curve.points, [point.learning_rate * 1000 for point in curve.points])
            axes.plot(tokens, rates, color=colour, linewidth=1.8, linestyle=style)
        axes.set_ylabel("learning rate (10⁻³)")
        axes.set_ylim(bottom=0)
        _token_axis(figure, axes, curves)
        return _svg(figure, key, title)


def _dashes() -> list[Any]:
    """Line styles that can be told apart where two schedules are the same line."""
    return ["-", (0, (5, 3)), "-", (0, (2, 2)), "-", (0, (5, 3)), *["-"] * 1000]


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each curve's name (x, y, name, colour) at its end, those that would touch one below the other."""
    written: list[tuple[float, float]] = []
    for x, y, name, colour in sorted(ends, key=lambda end: -end[1]):
        place_x, place_y = axes.transData.transform((x, y))  # in units of the picture
        near = [other_y for other_x, other_y in written if abs(other_x - place_x) < NAME_WIDTH]
        lower = min([place_y, *(other_y - NAME_HEIGHT for other_y in near)])
        written.append((place_x, lower))
        axes.annotate(
            _short(name, 8), (x, y), xytext=(5, lower - place_y), textcoords="offset points",
            va="center", color=colour, fontweight="bold",
        )  # fmt: skip


def _token_axis(figure: Figure, axes: Axes, curves: Sequence[Curve]) -> None:
    most = max((curve.points[-1].tokens for curve in curves if curve.points), default=1)
    scale, unit = next(
        (s, u) for s, u in ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"), (1, "")) if most >= s
    )
    axes.xaxis.set_major_formatter(lambda tokens, _: f"{tokens / scale:g}")
    axes.set_xlim(0, most * 1.09)
    axes.set_xlabel(f"tokens seen in this training run{f' ({unit})' if unit else ''}")
    figure.subplots_adjust(left=0.125, right=0.985, top=0.96, bottom=0.15)


def _averaged(losses: Sequence[float]) -> list[float]:
    """The exponential moving average, corrected for its start (as in Adam)."""
    total, averaged = 0.0, []
    for step, loss in enumerate(losses, 1):
        total = SMOOTHING * total + (1 - SMOOTHING) * loss
        averaged.append(total / (1 - SMOOTHING**step))
    return averaged


def _thinned(points: Sequence[LossPoint], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int))
    return np.array([points[i].tokens for i in chosen]), np.array([values[i] for i in chosen])


def score_histogram(key: str, title: str, bins: Sequence[ScoreBin], cut: float) -> str:
    """Documents by the classifier's score, dropped on top of kept, with the filter's cut."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(420, 310)
        filled = [place for place, found in enumerate(bins) if found.kept + found.dropped]
        shown = bins[filled[0] : filled[-1] + 1] if filled else bins
        left, width = [found.low for found in shown], [(found.high - found.low) * 0.92 for found in shown]
        kept = [found.kept for found in shown]
        most = max(found.kept + found.dropped for found in shown)
        axes.bar(left, kept, width, align="edge", color=SERIES[1], linewidth=0, label="kept")
        axes.bar(
            left, [found.dropped for found in shown], width, bottom=kept, align="edge", color=FAINT, linewidth=0,
            label="dropped",
        )  # fmt: skip
        axes.plot([cut, cut], [0, most * 1.05], color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.text(cut, most * 1.06, f"cut {cut:.2f}", ha="center", va="bottom", fontsize=11.5)
        axes.set_xlim(shown[0].low - 0.1, shown[-1].high + 0.1)
        axes.set_xlabel("classifier's score (0 to 5)")
        axes.set_ylabel("documents")
        axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        axes.set_ylim(0, max(most, 1) * 1.3)
        axes.legend(loc="upper right", fontsize=11.5, ncols=2, handlelength=1, labelcolor=MUTED, borderpad=0)
        figure.subplots_adjust(left=0.175, right=0.985, top=0.97, bottom=0.15)
        return _svg(figure, key, title)


def growth_curve(key: str, title: str, growth: Growth) -> str:
    """A measure against the number of texts, which doubles from point to point: a small picture, one of several."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(310, 240)
        measured = [(texts, value) for texts, value in growth.points if value is not None]
        if measured:
            axes.plot(
                *zip(*measured, strict=True), color=SERIES[1], linewidth=1.8, marker="o", markersize=5, clip_on=False
            )
            _legend_entry(axes, 0, growth.name, SERIES[1], "o")
        if growth.corpus is not None and growth.corpus[1] is not None:
            measured.append((growth.corpus[0], growth.corpus[1]))
            axes.plot(*measured[-1], color=INK, linewidth=0, marker="D", markersize=6.5, clip_on=False)
            _legend_entry(axes, 0.5, "real corpus", INK, "D")
        axes.set_xscale("log", base=2)
        ticks = [texts for texts, _ in growth.points][::-2]  # each at least twice the one before
        axes.set_xticks(ticks, [f"{texts:,}" for texts in ticks])
        axes.minorticks_off()
        low, high = min((x for x, _ in measured), default=1), max((x for x, _ in measured), default=2)
        axes.set_xlim(low / 1.25, high * 1.25)
        axes.set_ylim(0, 1.15 * (max((value for _, value in measured), default=0) or 1))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        if not measured:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=MUTED)
            axes.set_yticks([])
        axes.set_xlabel("number of texts")
        axes.set_ylabel(growth.label)
        figure.subplots_adjust(left=0.19, right=0.965, top=0.9, bottom=0.19)
        return _svg(figure, key, title)


def _legend_entry(axes: Axes, x: float, name: str, colour: str, marker: str) -> None:
    """A marker and what it stands for, above the plot."""
    axes.plot(
        [x + 0.02], [1.07], transform=axes.transAxes, color=colour, linewidth=0, marker=marker, markersize=6,
        clip_on=False,
    )  # fmt: skip
    axes.annotate(
        _short(name, 14), (x + 0.02, 1.07), xycoords="axes fraction", xytext=(8, 0), textcoords="offset points",
        va="center", fontsize=11.5, color=MUTED,
    )  # fmt: skip


def _canvas(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure whose SVG has `width` × `height` units."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    return figure, axes


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(figure: Figure, key: str, title: str) -> str:
    """The `<svg>` element alone, to be set into a page: ids made unique by `key`, colours as CSS variables."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL
    )  # its style would be the page's
    opening, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', opening)
    if box is None:
        raise RuntimeError("matplotlib wrote an SVG without a viewBox")
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(r'\bid="', f'id="{key}-', rest)
    rest = re.sub(r'(href="|url\()#', rf"\1#{key}-", rest)
    for colour, variable in VARIABLES.items():
        rest = rest.replace(colour, f"var({variable})")
    rest = re.sub(r" font-family: [^;\"]+;?", "", rest)
    return f'<svg role="img" aria-label="{escape(title)}" {box.group()}>{rest}'
