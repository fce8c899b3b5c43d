"""Trace and page: Chrome's format with every beginning ended, HTML that stands alone, names as nothing but text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from a1400.profile import Profile, Roofline
from a1400.profile.html import page, write_html
from a1400.profile.pictures import arena_rectangles
from a1400.profile.trace import trace, write_trace
from tests.profile.conftest import EVIL, feeds, load, made_up


def opened(found: list[Profile], path: Path) -> list[dict]:
    """The events of a written trace, checked one by one: order in time, begin and end in pairs, inside each other."""
    write_trace(found, path)
    document = json.loads(path.read_text())
    assert set(document) == {"traceEvents", "displayTimeUnit"} and document["displayTimeUnit"] in ("ms", "ns")
    stacks: dict[tuple[int, int], list[tuple[str, float]]] = {}
    last: dict[tuple[int, int], float] = {}
    for event in document["traceEvents"]:
        assert event["ph"] in "BEMCsf" and isinstance(event["name"], str)
        if event["ph"] not in "BE":
            continue
        track = event["pid"], event["tid"]
        assert isinstance(event["ts"], float) and event["ts"] >= last.get(track, 0.0)
        last[track] = event["ts"]
        if event["ph"] == "B":
            stacks.setdefault(track, []).append((event["name"], event["ts"]))
        else:
            name, begun = stacks[track].pop()
            assert name == event["name"] and begun <= event["ts"]
    assert not any(stacks.values())
    return document["traceEvents"]


def test_trace_of_a_model(device_info, tmp_path: Path, peaks: Roofline) -> None:
    found = load("cnn", tmp_path, device_info.id).profile(feeds("cnn"), runs=2, warmup=1)
    events = opened([found], tmp_path / "trace.json")
    kernels = [e for e in events if e["ph"] == "B" and e["cat"] == "device"]
    assert [e["args"]["index"] for e in kernels] == [x.index for x in found.launches]
    assert [e["name"] for e in kernels] == [x.kernel for x in found.launches]
    calls = [e for e in events if e["ph"] == "B" and e["name"].startswith("enqueue ")]
    assert len(calls) == len(found.launches)
    arrows = [sorted(e["id"] for e in events if e["ph"] == phase) for phase in "sf"]
    assert arrows[0] == arrows[1] and len(set(arrows[0])) == len(found.launches)


def texts(value: Any) -> list[str]:
    """Every text in a document."""
    if isinstance(value, dict):
        return [text for item in (*value, *value.values()) for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def test_trace_of_two_devices(tmp_path: Path) -> None:
    events = opened([made_up(name=EVIL), made_up(5)], tmp_path / "trace.json")
    assert {e["pid"] for e in events} == {1, 2}
    assert len({e["id"] for e in events if e["ph"] == "s"}) == 8
    assert any("alert(1)" in text for text in texts(events)) and all(text.isprintable() for text in texts(events))
    memory = [e["args"]["bytes"] for e in events if e["ph"] == "C" and e["pid"] == 2]
    assert memory == [4096, 8192, 8192, 8192, 8192]


def test_launches_that_overlap_by_the_clock_do_not_in_the_trace(tmp_path: Path) -> None:
    found = made_up(3)
    first = found.launches[0]
    object.__setattr__(first, "end", found.launches[1].start + 1e-5)
    opened([found], tmp_path / "trace.json")


class Reader(HTMLParser):
    """Tags, attributes and texts by the tag they stand in."""

    void = ("meta", "input", "rect", "line")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.setdefault(self.open[-1] if self.open else "", []).append(data)


@pytest.mark.parametrize("name", ["node", EVIL])
def test_page(name: str, tmp_path: Path) -> None:
    found = made_up(4, name)
    write_html([found, made_up(2, name)], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    read = Reader(text)
    names = [tag for tag, _ in read.tags]
    assert names.count("script") == 1 and names.count("h2") == 2 and names.count("circle") == 4
    assert not {"img", "link", "iframe", "object", "a", "base", "form"} & set(names)
    for _, attributes in read.tags:
        assert not any(key.startswith("on") or key in ("src", "href", "srcdoc") for key in attributes)
    assert "http" not in re.sub(r'<meta http-equiv="Content-Security-Policy"', "", text) and "url(" not in text
    assert "default-src 'none'" in text
    assert all(c.isprintable() or c == "\n" for c in text)
    if name == EVIL:
        assert "alert(1)" in text and "&lt;script&gt;alert(1)" in text and "<script>alert(1)" not in text
        assert not any("alert(1)" in word for word in read.words["script"])
    titles = [t for t, _ in read.tags if t == "title"]
    storages = sum(len(one.arena) for one in (found, made_up(2)))
    assert len(titles) >= 1 + storages + 2 * 6 + 4  # the page's, each storage, each launch twice, each dot


def test_long_names_are_cut(tmp_path: Path) -> None:
    text = page([made_up(2, "n" * 100_000)])
    assert len(text) < 60_000 and "n" * 400 + "..." in text


def test_rectangles_of_the_arena(device_info, tmp_path: Path, peaks: Roofline) -> None:
    found = load("cnn", tmp_path, device_info.id).profile(feeds("cnn"), runs=1, warmup=0)
    boxes = arena_rectangles(found)
    assert len(boxes) == len(found.arena) > 0
    for left, top, width, height in boxes:
        assert left >= 0 and top >= -1e-9 and width > 0 and height > 0
        assert left + width <= 1 + 1e-9 and top + height <= 1 + 1e-9
    for (al, at, aw, ah), (bl, bt, bw, bh) in combinations(boxes, 2):
        across = min(al + aw, bl + bw) - max(al, bl)
        down = min(at + ah, bt + bh) - max(at, bt)
        assert across < 1e-9 or down < 1e-9
    assert page([found]).count("class=plot") == 2


def test_models_without_launches() -> None:
    """A model whose answer is known before it runs: nothing to show, and nothing fails."""
    found = made_up(0)
    assert found.total.seconds == found.total.share == found.total.flop_rate == 0
    Reader(page([found]))
    assert [e["ph"] for e in trace([found])["traceEvents"]].count("B") == 4
