"""Looks and script of the page that :mod:`a1400.verify.html` writes."""

from __future__ import annotations

_LIGHT = (
    ("back", "#ffffff"), ("text", "#1b1f24"), ("line", "#d0d4da"), ("soft", "#f4f5f7"),
    ("good", "#116329"), ("bad", "#a40e26"), ("link", "#0b57d0"),
    ("u0", "#e3f4e6"), ("u1", "#d3efd8"), ("u2", "#c9e9c4"), ("u3", "#dfeab4"), ("u4", "#f0e6a6"), ("u5", "#f7d79a"),
    ("u6", "#f6c48d"), ("fail", "#ffb3ad"), ("error", "#ff9ec2"), ("hang", "#c9b6ff"), ("crash", "#a9b8ff"),
)  # fmt: skip
_DARK = (
    ("back", "#14171b"), ("text", "#e4e7eb"), ("line", "#3a4048"), ("soft", "#1d2126"),
    ("good", "#6fd38a"), ("bad", "#ff8d8d"), ("link", "#8ab4f8"),
    ("u0", "#17301d"), ("u1", "#1b3a21"), ("u2", "#234423"), ("u3", "#3a461f"), ("u4", "#4a431c"), ("u5", "#553c1a"),
    ("u6", "#5c341b"), ("fail", "#7a1f1f"), ("error", "#74204a"), ("hang", "#46307f"), ("crash", "#2b3a8a"),
)  # fmt: skip


def _variables(colours: tuple[tuple[str, str], ...]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours)


_STEPS = "".join(f".u{i}{{background:var(--u{i})}}" for i in range(7))
_OUTCOMES = "".join(f".c-{n},b.{n}{{background:var(--{n})}}" for n in ("fail", "error", "hang", "crash"))
STYLE = (
    f":root{{color-scheme:light dark;{_variables(_LIGHT)}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_variables(_DARK)}}}}}"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;background:var(--back);"
    "color:var(--text)}"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}a{color:inherit;text-decoration:none;"
    "display:block}a:hover,a:focus{text-decoration:underline}"
    "table{border-collapse:collapse}td,th{border:1px solid var(--line);padding:.2rem .5rem;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}th{background:var(--soft);font-weight:600}.n{text-align:right}"
    ".wide{overflow-x:auto}.matrix td,.matrix th{white-space:nowrap}.matrix th:first-child{position:sticky;left:0}"
    "small{opacity:.8}code{font:13px/1.4 ui-monospace,monospace}"
    ".verdict{font-size:1.2rem;font-weight:600}.good{color:var(--good)}.bad{color:var(--bad)}"
    "details{margin:.2rem 0}summary{cursor:pointer}details:target>summary{font-weight:600;color:var(--link)}"
    "b{padding:0 .25rem;border-radius:.2rem}.none{opacity:.5}"
    ".legend span{display:inline-block;padding:.1rem .5rem;margin:0 .2rem .2rem 0;border:1px solid var(--line)}"
    f"{_STEPS}{_OUTCOMES}"
)
LEGEND = (
    '<p class=legend>Largest error, ULPs: <span class=u0>0</span><span class=u1>up to 1</span><span class=u2>up to 4'
    "</span><span class=u3>up to 16</span><span class=u4>up to 128</span><span class=u5>up to 4096</span>"
    '<span class=u6>more</span> (all within tolerance) <span class="c-fail">FAIL: wrong answer</span>'
    '<span class="c-error">ERROR: refused by driver or compiler</span><span class="c-hang">HANG</span>'
    '<span class="c-crash">CRASH</span></p>\n'
)
#: opens the cases that a cell leads to
SCRIPT = (
    "function show(){var d=location.hash&&document.getElementById(location.hash.slice(1));"
    "if(d&&d.tagName==='DETAILS'){d.open=true;d.scrollIntoView()}}"
    "addEventListener('hashchange',show);addEventListener('load',show);"
    "addEventListener('click',function(e){var a=e.target.closest('a');"
    "if(a&&a.hash===location.hash)show()});"
)
