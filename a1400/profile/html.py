"""A profile as one page of HTML that needs nothing else: no network, no fonts, no other file.

Every name in it comes from a model or a driver and is escaped; a content security policy lets nothing run but the
page's own few lines of script (stretching the timeline, sorting tables).
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence

import a1400
from a1400.io.files import write_whole
from a1400.profile.pictures import (
    arena_picture,
    arena_style,
    colour_style,
    colours,
    quantity,
    roofline_picture,
    seconds_text,
    shown,
    timeline,
)
from a1400.profile.result import PHASES, Group, LaunchProfile, Profile
from a1400.verify.html_style import STYLE

_STYLE = (
    "svg{display:block;background:var(--soft)}svg text{font:12px system-ui,sans-serif;fill:var(--text)}"
    ".plot{width:100%;max-width:62rem;height:auto}.timeline{min-width:100%}"
    ".grid{stroke:var(--line)}.roof{stroke:var(--link);stroke-width:2}.dot{fill-opacity:.75;stroke:var(--back)}"
    ".host{fill:var(--line);stroke:var(--back)}.call{fill:var(--link)}.part{stroke:var(--back);stroke-width:.5}"
    "rect:hover,circle:hover{stroke:var(--text);stroke-width:2}th[data-sort]{cursor:pointer}"
    ".key svg{display:inline-block;background:none;vertical-align:middle}"
)
_SCRIPT = (
    "document.querySelectorAll('input[type=range]').forEach(function(r){r.addEventListener('input',function(){"
    "r.closest('p').nextElementSibling.firstElementChild.style.width=r.value*100+'%'})});"
    "addEventListener('click',function(e){var h=e.target.closest('th[data-sort]');if(!h)return;"
    "var i=h.cellIndex,b=h.closest('table').tBodies[0],s=h.dataset.sort=h.dataset.sort==='down'?'up':'down';"
    "var rows=Array.from(b.rows);rows.sort(function(p,q){var x=p.cells[i],y=q.cells[i];"
    "var c=x.dataset.v!==undefined?x.dataset.v-y.dataset.v:x.textContent.localeCompare(y.textContent);"
    "return s==='down'?-c:c});rows.forEach(function(r){b.appendChild(r)})});"
)
_LONGEST_TABLE = 2000


def write_html(profiles: Sequence[Profile], path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``, whole or not at all; raises ``OSError`` where that cannot be written."""
    write_whole(path, page(profiles))


def page(profiles: Sequence[Profile]) -> str:
    """The page's text: a section for each profile."""
    return "".join(_page(profiles))


def _page(profiles: Sequence[Profile]) -> Iterator[str]:
    script = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'"
    kernels = max((len(colours(one.launches)) for one in profiles), default=0)
    names = ", ".join(dict.fromkeys(one.model for one in profiles))
    yield f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>a1400 profile: {shown(names)}</title>
<style>{STYLE}{_STYLE}{colour_style(kernels)}{arena_style()}</style></head><body>
<h1>a1400 profile: {shown(names)}</h1>
<p>a1400 {shown(a1400.__version__)}</p>
"""
    for one in profiles:
        yield from _section(one)
    yield f"<script>{_SCRIPT}</script></body></html>\n"


def _section(found: Profile) -> Iterator[str]:
    device, total = found.device, found.total
    yield f"<h2>{shown(found.model)} on {shown(device.name)} ({shown(device.id)}, {shown(device.platform)})</h2>\n"
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in found.shapes.items())
    yield f"<p>{shown(shapes)}; {shown(found.precision)}; {shown(found.date)}; driver {shown(device.driver)}</p>\n"
    yield (
        f"<p class=verdict>{seconds_text(found.plain.median)} a run, {total.launches:,} launches, "
        f"{quantity(total.flops, 'FLOP')} at {quantity(total.flop_rate, 'FLOP/s')} while kernels run, "
        f"{total.share:.0%} of the roofline</p>\n"
    )
    yield (
        f"<p>Middle half of {found.runs:,} runs: {seconds_text(found.plain.low_quartile)} to "
        f"{seconds_text(found.plain.high_quartile)}. A profiled run takes {seconds_text(found.profiled.median)}: "
        f"profiling costs {found.cost:+.1%}.</p>\n"
    )
    yield from _phases(found)
    yield "<h3>Timeline</h3><p>The run of median length: the host above, the device below. "
    yield '<label>Stretch <input type=range min=1 max=100 value=1 step=any aria-label="stretch the timeline"></label>'
    yield "</p>"
    yield from timeline(found)
    yield from _key(found)
    without = sum(1 for x in found.launches if not x.flops)
    moving = f" {without:,} that only move data are not shown." if without else ""
    yield "<h3>Roofline</h3><p>A circle is a launch, its area the share of the kernels' time. The peaks were measured "
    yield f"with a1400's own kernels, {shown(found.roofline.date)}.{moving}</p>"
    yield from roofline_picture(found)
    yield f"<h3>Memory arena</h3><p>{quantity(found.arena_bytes, 'B')} hold {len(found.arena):,} storages of "
    yield f"{quantity(sum(t.nbytes for t in found.arena), 'B')} together.</p>"
    yield from arena_picture(found)
    for what, groups in (("kernel", found.by_kernel()), ("op", found.by_op()), ("node", found.by_node())):
        yield f"<details><summary>By {what} ({len(groups):,})</summary>"
        yield from _groups(what, groups, total.seconds)
        yield "</details>\n"
    yield f"<details><summary>Launches ({total.launches:,})</summary>"
    yield from _launches(found, total.seconds)
    yield "</details>\n"


def _phases(found: Profile) -> Iterator[str]:
    whole = sum(found.phases.values()) or 1.0
    yield "<table><tr><th>Where the time goes<th>Time<th>Share<th>What it is\n"
    for name, text in PHASES.items():
        seconds = found.phases[name]
        yield f"<tr><td>{name}<td class=n>{seconds_text(seconds)}<td class=n>{seconds / whole:.1%}<td>{text}\n"
    yield "</table>\n"


def _key(found: Profile) -> Iterator[str]:
    yield "<p class=key>"
    for name, number in colours(found.launches).items():
        yield f'<svg width=14 height=14><rect class="k{number}" width=14 height=14 /></svg> {shown(name)} &ensp;'
    yield "</p>\n"


_FIGURES = ("Time", "Share", "FLOP", "FLOP/s", "Bytes", "B/s", "Of roof")


def _head(columns: Sequence[str]) -> str:
    return "<thead><tr>" + "".join(f'<th data-sort="">{c}' for c in columns) + "</thead><tbody>\n"


def _figures(row: Group | LaunchProfile, total: float) -> str:
    share = row.seconds / total if total else 0.0
    cells = (
        (row.seconds, seconds_text(row.seconds)),
        (share, f"{share:.1%}"),
        (row.flops, quantity(row.flops, "")),
        (row.flop_rate, quantity(row.flop_rate, "")),
        (row.bytes, quantity(row.bytes, "")),
        (row.byte_rate, quantity(row.byte_rate, "")),
        (row.share, f"{row.share:.0%}"),
        (row.gap, seconds_text(row.gap)),
    )
    return "".join(f'<td class=n data-v="{value:.6g}">{text}' for value, text in cells)


def _groups(what: str, groups: Sequence[Group], total: float) -> Iterator[str]:
    yield "<div class=wide><table>" + _head((what.capitalize(), "Launches", *_FIGURES, "Gaps"))
    for group in groups[:_LONGEST_TABLE]:
        yield f'<tr><td>{shown(group.name)}<td class=n data-v="{group.launches}">{group.launches:,}'
        yield _figures(group, total) + "\n"
    yield "</tbody></table></div>"


def _launches(found: Profile, total: float) -> Iterator[str]:
    yield "<div class=wide><table>" + _head(("#", *_FIGURES, "Gap before", "Kernel", "Tunables", "Sizes", "Nodes"))
    for x in sorted(found.launches, key=lambda x: -x.seconds)[:_LONGEST_TABLE]:
        sizes = " ".join(f"{k}={v}" for k, v in x.scalars.items())
        tunables = " ".join(f"{k}={v}" for k, v in x.tunables.items())
        yield f'<tr><td class=n data-v="{x.index}">{x.index}{_figures(x, total)}<td>{shown(x.kernel)}'
        yield f"<td>{shown(tunables)}<td><small>{shown(sizes)}</small><td>{shown(x.label)}\n"
    yield "</tbody></table></div>"
