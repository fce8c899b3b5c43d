"""The pictures of a profile's page as SVG: timeline, roofline, arena.  All names in them are escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from a1400.profile.result import LaunchProfile, Profile
from a1400.text import clean

_LONGEST = 400  # characters of a name in a picture
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 1000, 420, 70, 40, 14, 130


def shown(value: object) -> str:
    """Text from outside, shortened, on one line, harmless in HTML."""
    text = str(value)
    return escape(clean(text if len(text) <= _LONGEST else text[:_LONGEST] + "..."))


def quantity(value: float, unit: str) -> str:
    """A number with a prefix: ``1.23 GFLOP``."""
    for prefix, power in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= power:
            return f"{value / power:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def seconds_text(seconds: float) -> str:
    """``1.23 s``, ``4.56 ms``, ``789 µs``."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def colours(launches: Iterable[LaunchProfile]) -> dict[str, int]:
    """A number for each kernel, the one of most time first; the class ``k<number>`` is its colour."""
    sums: dict[str, float] = {}
    for launch in launches:
        sums[launch.kernel] = sums.get(launch.kernel, 0.0) + launch.seconds
    return {name: number for number, name in enumerate(sorted(sums, key=lambda n: -sums[n]))}


def colour_style(count: int) -> str:
    """CSS of ``count`` colours, far apart on the circle of hues."""
    return "".join(f".k{i}{{fill:hsl({(i * 137.508 + 210) % 360:.0f} 60% 55%)}}" for i in range(count))


def hover(launch: LaunchProfile) -> str:
    """What is shown when the pointer is on a launch."""
    lines = [
        f"#{launch.index} {shown(launch.kernel)}: {seconds_text(launch.seconds)}",
        f"{quantity(launch.flops, 'FLOP')} at {quantity(launch.flop_rate, 'FLOP/s')}, "
        f"{quantity(launch.bytes, 'B')} at {quantity(launch.byte_rate, 'B/s')}, {launch.share:.0%} of the roofline",
        shown(launch.label),
    ]
    return "\n".join(lines)


# ---- timeline ------------------------------------------------------------------------------------------------


def timeline(found: Profile) -> Iterator[str]:
    """Host and device over the time of one run; positions are shares of the width, so that the page can stretch it."""
    whole = max(found.moments.end, max((x.end for x in found.launches), default=0.0), 1e-9)
    classes = colours(found.launches)

    def bar(start: float, end: float, row: int, kind: str, title: str) -> str:
        left, width = 100 * start / whole, 100 * max(end - start, 0.0) / whole
        top = 6 + 34 * row
        return (
            f'<rect class="{kind}" x="{left:.5f}%" y="{top}" width="{width:.5f}%" height="26"><title>{title}</title>'
            "</rect>"
        )

    yield '<div class=wide><svg class=timeline width="100%" height="104" role=img aria-label="timeline">'
    m = found.moments
    for start, end, name in (
        (m.begin, m.bound, "inputs bound"), (m.bound, m.chosen, "outputs chosen"),
        (m.chosen, m.waited, "launches enqueued and waited for"), (m.waited, m.end, "results"),
    ):  # fmt: skip
        yield bar(start, end, 0, "host", f"host, {name}: {seconds_text(end - start)}")
    for x in found.launches:
        text = f"host, enqueue #{x.index} {shown(x.kernel)}: {seconds_text(x.returned - x.called)}"
        yield bar(x.called, x.returned, 0, "call", text)
        yield bar(x.start, x.end, 1, f"k{classes[x.kernel]}", hover(x))
    for tick in range(11):
        at = 10 * tick
        anchor = "start" if tick == 0 else "end" if tick == 10 else "middle"
        yield f'<line class=grid x1="{at}%" x2="{at}%" y1="72" y2="80"/>'
        yield f'<text x="{at}%" y="96" text-anchor="{anchor}">{seconds_text(whole * tick / 10)}</text>'
    yield "</svg></div>\n"


# ---- roofline ------------------------------------------------------------------------------------------------


class _Axis:
    """A logarithmic axis: values to positions."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self._start, self._scale = start, (end - start) / (self.high - self.low)

    def __call__(self, value: float) -> float:
        at = min(max(math.log10(max(value, 1e-300)), self.low), self.high)
        return self._start + (at - self.low) * self._scale

    def ticks(self) -> list[float]:
        """Powers of ten."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def roofline_picture(found: Profile) -> Iterator[str]:
    """Operations per second over operations per byte, both logarithmic; a circle's area is its share of the time."""
    peaks = found.roofline
    points = [x for x in found.launches if x.flops > 0 and x.bytes > 0 and x.seconds > 0]
    units = {unit: peaks.flop_rate(unit) for unit in dict.fromkeys(["f32", *(p.unit for p in points)])}
    top = max(units.values())
    slopes = (
        (max(rate for _, rate in peaks.bandwidth), "from cache"),
        (peaks.bandwidth[-1][1], "from memory"),
    )
    ridge = top / min(rate for rate, _ in slopes)
    x = _Axis([0.05, 2 * ridge, *(p.flops / p.bytes for p in points)], _LEFT, _WIDTH - _RIGHT)
    y = _Axis([1.5 * top, top / 1e3, *(p.flop_rate for p in points)], _HEIGHT - _BOTTOM, _TOP)
    yield f'<svg class=plot viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img aria-label="roofline">'
    for tick in x.ticks():
        yield f'<line class=grid x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        yield f'<text x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor=middle>{tick:g}</text>'
    for tick in y.ticks():
        yield f'<line class=grid x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor=end>{quantity(tick, "")}</text>'
    for unit, rate in units.items():
        start = rate / max(r for r, _ in slopes)
        yield f'<line class=roof x1="{x(start):.1f}" x2="{_WIDTH - _RIGHT}" y1="{y(rate):.1f}" y2="{y(rate):.1f}"/>'
        text = f"{shown(unit)} {quantity(rate, 'FLOP/s')}"
        yield f'<text x="{_WIDTH - _RIGHT + 4}" y="{y(rate) + 4:.1f}">{text}</text>'
    for rate, name in slopes:
        low = max(10.0**x.low, 10.0**y.low / rate)
        yield (
            f'<line class=roof x1="{x(low):.1f}" y1="{y(low * rate):.1f}" x2="{x(top / rate):.1f}" y2="{y(top):.1f}">'
            f"<title>{quantity(rate, 'B/s')} {name}</title></line>"
        )
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" text-anchor=middle>FLOP per byte</text>'
    yield f'<text x="12" y="{_HEIGHT / 2}" text-anchor=middle transform="rotate(-90 12 {_HEIGHT / 2})">FLOP/s</text>'
    classes, total = colours(found.launches), found.total.seconds
    for p in sorted(points, key=lambda p: -p.seconds):
        radius = max(3.0, 40 * math.sqrt(p.seconds / total))
        yield (
            f'<circle class="k{classes[p.kernel]} dot" cx="{x(p.flops / p.bytes):.1f}" cy="{y(p.flop_rate):.1f}" '
            f'r="{radius:.1f}"><title>{hover(p)}</title></circle>'
        )
    yield "</svg>\n"


# ---- arena ---------------------------------------------------------------------------------------------------


def arena_rectangles(found: Profile) -> list[tuple[float, float, float, float]]:
    """(left, top, width, height) of each storage of the arena: launches across, offsets up; from 0 to 1."""
    count, total = max(len(found.launches), 1), max(found.arena_bytes, 1)
    return [
        (t.first / count, 1 - (t.offset + t.nbytes) / total, (t.last - t.first + 1) / count, t.nbytes / total)
        for t in found.arena
    ]


def arena_picture(found: Profile) -> Iterator[str]:
    """Every storage of the arena as a rectangle: from its first launch to its last, at its offsets."""
    count = max(len(found.launches), 1)
    across, up = _WIDTH - _LEFT - 20, _HEIGHT - _BOTTOM - _TOP
    yield f'<svg class=plot viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img aria-label="memory arena">'
    for tick in range(5):
        height = _TOP + up * (1 - tick / 4)
        yield f'<line class=grid x1="{_LEFT}" x2="{_LEFT + across}" y1="{height:.1f}" y2="{height:.1f}"/>'
        text = quantity(found.arena_bytes * tick / 4, "B")
        yield f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor=end>{text}</text>'
    step = max(1, 10 ** math.floor(math.log10(count)) // (1 if count >= 5 * 10 ** math.floor(math.log10(count)) else 2))
    for tick in range(0, count + 1, step):
        left = _LEFT + across * tick / count
        yield f'<text x="{left:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor=middle>{tick}</text>'
    yield f'<text x="{_LEFT + across / 2}" y="{_HEIGHT - 6}" text-anchor=middle>launch</text>'
    for number, (tenant, box) in enumerate(zip(found.arena, arena_rectangles(found))):
        left, top, width, height = box
        text = f"{shown(tenant.name)}\n{quantity(tenant.nbytes, 'B')} at {tenant.offset:,}, "
        text += f"launches {tenant.first} to {tenant.last}"
        yield (
            f'<rect class="a{number % 6} part" x="{_LEFT + across * left:.2f}" y="{_TOP + up * top:.2f}" '
            f'width="{across * width:.2f}" height="{up * height:.2f}"><title>{text}</title></rect>'
        )
    yield "</svg>\n"


def arena_style() -> str:
    """CSS of the rectangles' colours."""
    return "".join(f".a{i}{{fill:hsl({60 * i + 200} 45% 60%)}}" for i in range(6))
