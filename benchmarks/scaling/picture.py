"""An SVG of what fleets need, by size: no library, so that it stays small and the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 380, 60, 150, 36, 44
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")


@dataclass(frozen=True, slots=True)
class Line:
    """A line through ``(x, y)``, on logarithmic axes: all above 0."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(title: str, x_name: str, lines: Sequence[Line]) -> str:
    """The picture, readable on a light and a dark page.

    Raises:
        ValueError: nothing to draw.
    """
    xs = [x for line in lines for x, _ in line.points if x > 0]
    ys = [y for line in lines for _, y in line.points if y > 0]
    if not xs:
        raise ValueError("no points")
    x_low, x_high = _decades(xs)
    y_low, y_high = _decades(ys)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + width * (log10(x) - x_low) / (x_high - x_low),
            _TOP + height * (1 - (log10(y) - y_low) / (y_high - y_low)),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14" font-weight="bold">{title}</text>',
        f'<text x="{_LEFT + width / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{x_name}</text>',
    ]
    for exponent in range(x_low, x_high + 1):
        x, _ = at(10**exponent, 10**y_low)
        out.append(f'<path d="M{x:.1f} {_TOP}V{_TOP + height}" stroke="#d0d7de"/>')
        out.append(f'<text x="{x:.1f}" y="{_TOP + height + 16}" text-anchor="middle">'
                   f"{10**exponent:,}</text>")  # fmt: skip
    for exponent in range(y_low, y_high + 1):
        _, y = at(10**x_low, 10**exponent)
        out.append(f'<path d="M{_LEFT} {y:.1f}H{_LEFT + width}" stroke="#d0d7de"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                   f"{10.0**exponent:,g}</text>")  # fmt: skip
    # Names whose lines end close to each other move apart.
    lowest = float("-inf")
    ends = sorted(
        (at(*max(p for p in line.points if p[1] > 0))[1], number)
        for number, line in enumerate(lines)
        if any(y > 0 for _, y in line.points)
    )
    for end, number in ends:
        line, colour = lines[number], _COLOURS[number % len(_COLOURS)]
        lowest = max(end, lowest + 15)
        path = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in line.points if y > 0)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{_LEFT + width + 6}" y="{lowest + 4:.1f}" fill="{colour}">'
                   f"{line.name}</text>")  # fmt: skip
    return "\n".join([*out, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = log10(min(values)), log10(max(values))
    first = int(low // 1)
    return first, max(first + 1, int(-(-high // 1)))
