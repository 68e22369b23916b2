"""Lines on two logarithmic axes as one SVG, drawn without any library: what the labs show as their reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

#: Okabe and Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 330, 62, 120, 40, 46

Points = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Plot:
    """A finished drawing, which a notebook shows."""

    title: str  # what the lines show, as a sentence
    svg: str  # the drawing

    def _repr_svg_(self) -> str:
        return self.svg


def log_lines(
    title: str, lines: Mapping[str, Points], x_label: str, y_label: str, *, colours: Sequence[str] = _COLOURS
) -> Plot:
    """Draw lines on logarithmic axes, each named at its right end.

    Args:
        title: a sentence that says what they show.
        lines: by name, x and y of their points, all above 0.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        colours: of the lines, one after the other; from the first again where there are more lines.

    Raises:
        ValueError: no line, one without points, or numbers that are not above 0 and finite.
    """
    for name, (xs, ys) in lines.items():
        if len(xs) != len(ys) or not len(xs) or not all(0 < each < math.inf for each in (*xs, *ys)):
            raise ValueError(f"the line {name!r} should have as many x as y, all above 0 and finite")
    if not lines:
        raise ValueError("there should be a line to draw")
    across = _Axis.over([x for xs, _ in lines.values() for x in xs], _LEFT, _WIDTH - _RIGHT)
    up = _Axis.over([y for _, ys in lines.values() for y in ys], _HEIGHT - _BOTTOM, _TOP)
    parts = [f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>']
    parts += [_tick(across.at(tick), None, tick) for tick in across.ticks()]
    parts += [_tick(None, up.at(tick), tick) for tick in up.ticks()]
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(f'<text x="8" y="{_TOP - 6}">{escape(y_label)}</text>')
    ends = _apart([up.at(ys[-1]) for _, ys in lines.values()])
    for i, (name, (xs, ys)) in enumerate(lines.items()):
        colour = colours[i % len(colours)]
        points = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end = across.at(xs[-1]) + 6
        parts.append(f'<text x="{end:.1f}" y="{ends[i] + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    )
    ground = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    label = f' role="img" aria-label="{escape(title, quote=True)}"'
    return Plot(title, f'{head}{label} font-family="sans-serif" font-size="12">{ground}{"".join(parts)}</svg>')


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis between two places of the drawing."""

    low: float  # least number, as a power of ten
    high: float  # largest
    start: float  # where the least lies
    end: float  # where the largest lies

    @classmethod
    def over(cls, numbers: Sequence[float], start: float, end: float) -> _Axis:
        low, high = math.log10(min(numbers)), math.log10(max(numbers))
        room = max(0.0, 0.5 - (high - low)) / 2  # lines that hardly change need no magnifying glass
        return cls(low - room, high + room, start, end)

    def at(self, number: float) -> float:
        return self.start + (math.log10(number) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round numbers within the axis, at most seven."""
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        for steps, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 4)):
            found = [step * 10.0**p for p in powers if p % every == 0 for step in steps]
            found = [each for each in found if self.low - 1e-9 <= math.log10(each) <= self.high + 1e-9]
            if len(found) <= 7:
                break
        return found


def _tick(x: float | None, y: float | None, number: float) -> str:
    text = f"{number:,.0f}" if 1 <= number < 1e7 else f"{number:g}"
    if y is None:
        line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#ddd"/>'
        return f'{line}<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{text}</text>'
    line = f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
    return f'{line}<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'


def _apart(places: Sequence[float], gap: float = 14.0) -> list[float]:
    """Return places for names that would lie on each other, moved down as far as they must."""
    found = list(places)
    last = -math.inf
    for i in sorted(range(len(found)), key=lambda i: found[i]):
        found[i] = last = max(found[i], last + gap)
    return found


__all__ = ["Plot", "log_lines"]
