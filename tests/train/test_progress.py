"""What is shown: a bar on a terminal, lines elsewhere, nothing when nothing is asked for."""

from __future__ import annotations

import io

from pytest import CaptureFixture, MonkeyPatch
from rich.console import Console

from a1400.train import progress
from a1400.train.progress import Bar, Lines, display


def test_lines_have_loss_metrics_speed_and_time(capsys: CaptureFixture[str], monkeypatch: MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    show = Lines()
    show.begin_epoch("Epoch 2/5", 400)
    for done in range(1, 41):
        now[0] += 2
        show.step(done, 32, {"loss": 0.5, "accuracy": 0.875})
    show.end_epoch({"loss": 0.00012345, "accuracy": 0.9, "val_loss": float("nan")})
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2/5  30/400  1:00  loss 0.5000  accuracy 0.8750  16 samples/s  12:20 left",
        "Epoch 2/5  40/400  1:20  loss 1.234e-04  accuracy 0.9000  val_loss nan  16 samples/s",
    ]


def test_the_bar_shows_where_it_stands() -> None:
    text = io.StringIO()
    show = Bar(Console(file=text, force_terminal=True, width=120))
    show.begin_epoch("Epoch 1/2", 10, 4)
    show.step(10, 32, {"loss": 1.25})
    bar = text.getvalue()
    assert "Epoch 1/2" in bar and "10/10" in bar and "loss 1.2500" in bar and "samples/s" in bar
    show.end_epoch({"loss": 1.25, "val_loss": 1.5})
    assert "val_loss 1.5000" in text.getvalue().splitlines()[-1]
    show.close()


def test_what_is_shown_where(monkeypatch: MonkeyPatch) -> None:
    for terminal, kinds in ((False, ("Lines", "Display", "Lines")), (True, ("Bar", "Display", "Lines"))):
        monkeypatch.setattr(progress.sys.stdout, "isatty", lambda terminal=terminal: terminal)
        assert tuple(type(display(verbose)).__name__ for verbose in ("auto", 0, 2)) == kinds
