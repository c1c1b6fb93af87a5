"""Small inline SVG: coloured by the page's style, so that light, dark and print are its choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from audiocls.compare.learning import LearningCurve
from audiocls.compare.ranking import Ranking
from audiocls.training.fitting.objective import Row

SERIES = 7  # colours of the page for models


def draw_losses(histories: Sequence[Sequence[Row]], chosen: Sequence[int], most: Row) -> Markup:
    """Draws the loss of training and validation by epoch, a pair of lines a run.

    A dot marks the chosen epoch.

    Args:
        histories: the rows of each run.
        chosen: the chosen epoch of each run.
        most: the ends of the axes, `epoch` and `loss`, common to all pictures of a page.
    """
    frame = _Frame(180, 120, (1, max(2, most["epoch"])), (0, most["loss"]), left=26, bottom=16)
    parts = [frame.grid(_ticks(0, most["loss"], 3), [1, int(most["epoch"])])]
    for history, best in zip(histories, chosen, strict=True):
        for part in ("train", "val"):
            points = [(row["epoch"], row[f"{part}_loss"]) for row in history]
            # A run of one epoch is a point, which a line would not show.
            points += points if len(points) == 1 else []
            parts.append(f'<polyline class="line {part}" points="{frame.path(points)}"/>')
        [row] = [row for row in history if row["epoch"] == best]
        x, y = frame.at(best, row["val_loss"])
        tip = f"epoch {best} chosen: validation loss {row['val_loss']:.3f}"
        parts.append(f'<circle class="dot val" cx="{x}" cy="{y}" r="2.6">{_tip(tip)}</circle>')
    return frame.svg(parts, "training and validation loss by epoch")


def draw_reliability(rows: Sequence[dict[str, Any]]) -> Markup:
    """Draws accuracy over confidence before and after scaling, and the number of clips."""
    frame = _Frame(320, 300, (0, 1), (0, 1), left=36, bottom=92)
    parts = [frame.grid([0, 0.25, 0.5, 0.75, 1.0], [0, 0.5, 1.0])]
    (x0, y0), (x1, y1) = frame.at(0, 0), frame.at(1, 1)
    parts.append(f'<line class="ideal" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>')
    most = max(row["after"]["n"] for row in rows) or 1
    for row in rows:
        (left, _), (right, _) = frame.at(row["low"], 0), frame.at(row["high"], 0)
        n, height = row["after"]["n"], 40 * row["after"]["n"] / most
        tip = f"confidence {row['low']:.2f} to {row['high']:.2f}: {n:,} clips"
        parts.append(
            f'<rect class="count" x="{left + 0.5}" y="{280 - height:.1f}" '
            f'width="{right - left - 1:.1f}" height="{height:.1f}">{_tip(tip)}</rect>'
        )
    for name in ("before", "after"):
        known = [row[name] for row in rows if row[name]["n"]]
        points = [(b["confidence"], b["accuracy"]) for b in known]
        parts.append(f'<polyline class="line {name}" points="{frame.path(points)}"/>')
        for b, (x, y) in zip(known, (frame.at(*p) for p in points), strict=True):
            tip = (
                f"{name} scaling: {b['n']:,} clips, confidence {b['confidence']:.3f}, "
                f"accuracy {b['accuracy']:.3f}"
            )
            parts.append(
                f'<circle class="dot {name}" cx="{x}" cy="{y}" r="3.4">{_tip(tip)}</circle>'
            )
    parts += [
        f'<text class="axis" x="{(x0 + x1) / 2}" y="234" text-anchor="middle">confidence</text>',
        f'<text class="axis" x="{(x0 + x1) / 2}" y="295" text-anchor="middle">'
        "clips by confidence (after)</text>",
        f'<text class="axis" transform="translate(9 {(y0 + y1) / 2}) rotate(-90)" '
        'text-anchor="middle">accuracy</text>',
    ]
    return frame.svg(parts, "accuracy over confidence, before and after temperature scaling")


def draw_scores_by_cost(rankings: Sequence[Ranking]) -> Markup | None:
    """Draws the main score, with its interval, over the time of a clip; None without times."""
    known = [(r, r.cpu_ms) for r in rankings if r.cpu_ms]
    if not known:
        return None
    low = math.log10(min(ms for _, ms in known)) - 0.15
    high = math.log10(max(ms for _, ms in known)) + 0.15
    ends = [end for r, _ in known for end in (r.interval or (r.main.mean, r.main.mean))]
    floor = max(0.0, math.floor(10 * min(ends) - 0.2) / 10)
    frame = _Frame(420, 300, (low, high), (floor, 1), left=36, bottom=34)
    decades = [
        d + math.log10(m)
        for d in range(math.floor(low), math.ceil(high) + 1)
        for m in (1, 2, 5)
        if low <= d + math.log10(m) <= high
    ]
    parts = [frame.grid(_ticks(floor, 1, 4), decades, lambda x: f"{10**x:.2g}")]
    places = [frame.at(math.log10(ms), r.main.mean) for r, ms in known]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for (r, _), (x, _) in zip(known, places, strict=True):
        (_, y0), (_, y1) = (frame.at(0, end) for end in r.interval or (r.main.mean, r.main.mean))
        taken.append((x - 2, y1, x + 2, y0))
    for (r, ms), (x, y) in zip(known, places, strict=True):
        best = " best" if r is rankings[0] else ""
        tip = f"{r.name}: {r.main}, {ms:.3g} ms a clip"
        if r.interval:
            (_, y0), (_, y1) = (frame.at(0, end) for end in r.interval)
            parts.append(f'<line class="whisker" x1="{x}" x2="{x}" y1="{y0}" y2="{y1}"/>')
        parts.append(
            f'<circle class="dot point{best}" cx="{x}" cy="{y}" r="4.5">{_tip(tip)}</circle>'
        )
        name = f"{r.model} · {r.feature}"
        if (box := frame.room(x, y, 6.4 * len(name), taken)) is not None:
            taken.append(box)
            parts.append(
                f'<text class="label{best}" x="{box[0]:.1f}" y="{box[3] - 3:.1f}">'
                f"{escape(name)}</text>"
            )
    parts.append(
        '<text class="axis" x="228" y="297" text-anchor="middle">ms a clip, one thread of a CPU '
        "(logarithmic)</text>"
    )
    by = rankings[0].yardstick
    return frame.svg(parts, f"{by.scores[by.main]} over the time of a clip")


def draw_learning(many: Sequence[LearningCurve]) -> Markup:
    """Draws the main score over recordings a class, a line a model.

    Its band is the standard deviation over seeds and folds.
    """
    sizes = [size for curve in many for size in curve.sizes]
    ends = [
        s.mean + sign * (s.deviation or 0)
        for curve in many
        for s in curve.scores
        for sign in (-1, 1)
    ]
    low, high = (math.log2(end(sizes)) for end in (min, max))
    floor = max(0.0, math.floor(10 * min(ends) - 0.2) / 10)
    frame = _Frame(420, 300, (low - 0.1, high + 0.1), (floor, 1), left=36, bottom=34)
    shown = sorted({math.log2(size) for size in sizes})
    apart = [x for x, y in zip(shown, [*shown[1:], math.inf], strict=True) if y - x > 0.25]
    parts = [frame.grid(_ticks(floor, 1, 4), apart, lambda x: f"{2**x:.3g}")]
    for number, curve in enumerate(many):
        xs, style = [math.log2(size) for size in curve.sizes], f"series s{number % SERIES}"
        band = [
            [(x, s.mean + sign * (s.deviation or 0)) for x, s in zip(xs, curve.scores, strict=True)]
            for sign in (1, -1)
        ]
        if any(s.deviation for s in curve.scores):
            around = frame.path([*band[0], *band[1][::-1]])
            parts.append(f'<polygon class="band {style}" points="{around}"/>')
        means = [(x, s.mean) for x, s in zip(xs, curve.scores, strict=True)]
        parts.append(f'<polyline class="line {style}" points="{frame.path(means)}"/>')
        for (x, y), size, s in zip(means, curve.sizes, curve.scores, strict=True):
            cx, cy = frame.at(x, y)
            tip = f"{curve.name}: {s} with {size:.3g} recordings a class"
            parts.append(
                f'<circle class="dot {style}" cx="{cx}" cy="{cy}" r="3.4">{_tip(tip)}</circle>'
            )
    parts.append(
        '<text class="axis" x="228" y="297" text-anchor="middle">recordings a class in training '
        "(logarithmic)</text>"
    )
    by = many[0].points[0].yardstick
    return frame.svg(parts, f"{by.scores[by.main]} over recordings a class")


class _Frame:
    """A coordinate system in a picture of width × height."""

    def __init__(
        self,
        width: int,
        height: int,
        x: tuple[float, float],
        y: tuple[float, float],
        left: int,
        bottom: int,
    ) -> None:
        self.width, self.height, self.x, self.y = width, height, x, y
        self.left, self.right, self.top, self.bottom = left, width - 8, 8, height - bottom

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point; beyond the ends of the y axis, the end."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = min(max((y - self.y[0]) / (self.y[1] - self.y[0]), 0), 1)
        return (
            round(self.left + across * (self.right - self.left), 1),
            round(self.bottom - up * (self.bottom - self.top), 1),
        )

    def room(
        self, x: float, y: float, width: float, taken: Sequence[tuple[float, float, float, float]]
    ) -> tuple[float, float, float, float] | None:
        """A free box for a label beside a point; None if there is none."""
        for down in (0, -12, 12):
            for left in (x + 8, x - 8 - width):
                box = left, y - 7 + down, left + width, y + 7 + down
                inside = self.left <= box[0] and box[2] <= self.width and box[3] <= self.bottom
                if inside and not any(
                    box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3]
                    for o in taken
                ):
                    return box
        return None

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """The points of a line."""
        return " ".join("{},{}".format(*self.at(*p)) for p in points)

    def grid(self, ys: Sequence[float], xs: Sequence[float], show: Any = "{:g}".format) -> str:
        """Lines and numbers of the axes."""
        parts = []
        for value in ys:
            _, y = self.at(self.x[0], value)
            parts.append(
                f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y}" y2="{y}"/>'
            )
            parts.append(
                f'<text class="tick" x="{self.left - 5}" y="{y + 3.5}" text-anchor="end">'
                f"{value:g}</text>"
            )
        for value in xs:
            x, y = self.at(value, self.y[0])
            parts.append(
                f'<text class="tick" x="{x}" y="{y + 12}" text-anchor="middle">{show(value)}</text>'
            )
        return "".join(parts)

    def svg(self, parts: Sequence[str], title: str) -> Markup:
        """The whole picture."""
        return Markup(
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
        )


def _ticks(low: float, high: float, n: int) -> list[float]:
    """About n round values from low to high."""
    raw = (high - low) / n
    size = 10 ** math.floor(math.log10(raw))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if s * size >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"
