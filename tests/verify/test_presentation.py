"""What `a1400 verify` shows, on a terminal and as a page: counts, failures, verdict, and names as nothing but text."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from a1400.verify.html import page, write_html
from a1400.verify.results import DeviceRun, Report, Result
from a1400.verify.summary import clean, figure, tally, verdict
from a1400.verify.table import print_report

EVIL = "<script>alert(1)</script>[bold red]x[/]\x1b[31m\u202e\nline\"'&"


def device(number: int, results: list[Result], **more: str) -> DeviceRun:
    names = {"name": f"Device {number}", "platform": "A platform", "driver": "1.2", "kind": "gpu", **more}
    return DeviceRun(f"opencl:{number}", results=results, seconds=3.0, **names)


def checks(count: int, subject: str = "gemm", **change: object) -> list[Result]:
    return [
        Result(subject, "gpu", f"case{i}", mode, "pass", types={"T": "f32"}, ulps=0.0 if mode == "exact" else 1.5,
               error=0.0 if mode == "exact" else 3e-8, **change)
        for i in range(count) for mode in ("exact", "close")
    ]  # fmt: skip


def failed(outcome: str = "fail", **change: object) -> Result:
    given = {
        "types": {"T": "f16"}, "tunables": {"LANES": 4}, "kind": "values", "message": "3 of 9 values differ",
        "ulps": 70000.0, "error": 0.25, "repro": "/tmp/a b.json",
    }  # fmt: skip
    return Result("softmax", "cpu", "odd", "close", outcome, **(given | change))


def report(*runs: DeviceRun, model: str = "") -> Report:
    return Report("1.2.3", "2025-02-03 04:05", model, list(runs))


def printed(shown: Report, width: int = 160) -> str:
    file = io.StringIO()
    print_report(Console(file=file, width=width, highlight=False), shown)
    return file.getvalue()


class Reader(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_good_report() -> None:
    text = printed(report(device(0, checks(4)), device(1, checks(4))))
    assert re.search(r"^gemm +8/8  0/1.5  3e-08 +8/8  0/1.5  3e-08", text, re.M)
    assert "opencl:1  Device 1, A platform, driver 1.2  8/8 in 3 s" in text
    assert text.rstrip().endswith("PASS: 16 checks on 2 devices")


@pytest.mark.parametrize("width", [200, 120, 60, 24])
def test_each_failure_is_one_line_with_its_repro(width: int) -> None:
    bad = failed(node="Softmax_3")
    text = printed(report(device(0, checks(4)), device(1, [*checks(4), bad, failed("crash", repro="r.json")])), width)
    lines = [line for line in text.splitlines() if "softmax/cpu LANES=4" in line]
    assert lines == [
        "FAIL opencl:1 softmax/cpu LANES=4 [odd, f16, close]: values: 3 of 9 values differ first at node Softmax_3 "
        "(70000 ULPs, error 0.25); repro: /tmp/a b.json".replace("70000", figure(70000.0)),
        "CRASH opencl:1 softmax/cpu LANES=4 [odd, f16, close]: values: 3 of 9 values differ "
        f"({figure(70000.0)} ULPs, error 0.25); repro: r.json",
    ]
    assert "FAIL: 2 of 18 checks did not pass" in text
    assert "gemm" in text and "8/8" in text and "0/2" in text


@pytest.mark.parametrize("width", [24, 40, 60])
def test_a_narrow_terminal_loses_nothing(width: int) -> None:
    names = ["a_kernel_with_quite_a_long_name", "gemm", "softmax"]
    runs = [device(i, [r for name in names for r in checks(3, name)]) for i in range(3)]
    text = printed(report(*runs), width)
    tables = [line for line in text.splitlines() if "6/6" in line or "1.5" in line]
    assert all(len(line) <= width for line in tables)
    assert text.count("6/6") == 9
    for run in runs:
        assert f"\n{run.id} " in text or f"\n{run.id}\n" in text


def test_names_are_text_and_nothing_else() -> None:
    evil = Result(EVIL, EVIL, EVIL, "close", "fail", message=EVIL, node=EVIL, repro=EVIL, tunables={EVIL: 1})
    run = device(0, [evil], name=EVIL, platform=EVIL, driver=EVIL)
    run.problem = EVIL
    shown = report(run, model=EVIL)
    for width in (200, 30):
        text = printed(shown, width)
        assert "\x1b" not in text and "\u202e" not in text
        assert "[bold red]x[/]" in text and "\\x1b[31m\\u202e\\nline" in text
    read = Reader(page(shown))
    assert read.tags.count("script") == 1 and "\x1b" not in page(shown) and "\u202e" not in page(shown)
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>[bold red]x[/]\\x1b[31m\\u202e\\nline\"'&" in read.text


def test_problems_and_verdicts() -> None:
    broken = device(1, checks(1))
    broken.problem = "the driver aborted (signal 6)"
    shown = report(device(0, checks(2)), broken)
    assert "opencl:1  Device 1, A platform, driver 1.2  2/2 in 3 s  the driver aborted (signal 6)" in printed(shown)
    assert verdict(shown) == "FAIL: 1 of 2 devices could not be verified to the end"
    assert "the driver aborted (signal 6)" in Reader(page(shown)).text
    assert verdict(report()) == "FAIL: no device was verified"
    assert "no device was verified" in printed(report()) and "no device was verified" in page(report())
    assert verdict(report(device(0, checks(1)[:1]))) == "PASS: 1 check on 1 device"


def test_the_page_tells_everything(tmp_path: Path) -> None:
    runs = [device(0, checks(4)), device(1, [*checks(2), failed(), failed("hang", repro="")])]
    write_html(report(*runs, model="/m/x.onnx"), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    read = Reader(text)
    for words in ("FAIL: 2 of 14 checks did not pass", "a1400 1.2.3, 2025-02-03 04:05, model /m/x.onnx",
                  "a1400 verify --repro '/tmp/a b.json'", "softmax/cpu LANES=4 [odd, f16, close]",
                  "Device 1 A platform 1.2", "8/8 0 / 1.5; 3e-08", "HANG", "not run", "case3"):  # fmt: skip
        assert words in read.text, words
    assert read.text.index("HANG") < read.text.index("3 of 9 values differ (")  # the worst first
    anchors = {value for name, value in read.attributes if name == "id"}
    links = [value for name, value in read.attributes if name == "href"]
    assert links and {link[1:] for link in links if link} == anchors
    assert not re.search(r"https?:|src=|url\(", text)  # needs nothing from elsewhere
    assert "prefers-color-scheme:dark" in text


@pytest.mark.parametrize(
    ("ulps", "error", "step"),
    [(0, 0, 0), (1, 0, 1), (3, 0, 2), (16, 0, 3), (100, 0, 4), (2000, 0, 5), (9999, 0, 6), (None, 1e-7, 2),
     (None, None, 0), (float("nan"), 0, 6), (float("inf"), 0, 6)],
)  # fmt: skip
def test_colour_follows_the_error(ulps: float | None, error: float | None, step: int) -> None:
    one = Result("k", "v", "c", "close", "pass", ulps=ulps, error=error)
    assert f"<td class=u{step}>" in page(report(device(0, [one])))


def test_a_large_report_stays_small() -> None:
    def kernel(k: int) -> list[Result]:
        return [
            Result(f"some_kernel_{k}", variant, f"case_{c}_f32", mode, "pass", {"LANES": 32} if variant else {},
                   {"T": "f32"}, ulps=c * 0.37, error=c * 1.3e-8, seconds=0.1)
            for variant in ("cpu", "gpu") for c in range(16) for mode in ("exact", "close", "repeat")
        ]  # fmt: skip

    runs = [device(i, [r for k in range(60) for r in kernel(k)]) for i in range(5)]
    text = page(report(*runs))
    assert sum(len(run.results) for run in runs) == 28_800
    assert len(text.encode()) < 1_000_000
    assert text.count("<details") == 300


def test_figures() -> None:
    shown = [figure(x) for x in (None, 0.0, 1.5, 123.4, 3e-8, 123456.0, float("nan"), float("inf"))]
    assert shown == ["", "0", "1.5", "123", "3e-08", "1e+05", "nan", "inf"]
    assert clean("a\tb\u2028\ud800é") == "a\\tb\\u2028\\ud800é"
    nan = Result("k", "v", "c", "close", "pass", ulps=float("nan"))
    one = Result("k", "v", "c", "close", "fail", ulps=1.0)
    assert str(tally([nan, one]).ulps) == "nan" and tally([nan, one]).outcome == "fail"
