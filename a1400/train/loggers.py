"""Callbacks that write the curves down: a CSV file, TensorBoard's event files."""

from __future__ import annotations

import csv
import os
from os import PathLike
from pathlib import Path
from typing import Any

from a1400.errors import A1400Error
from a1400.train.callbacks import Callback, Logs


class CSVLogger(Callback):
    """A row for each epoch: its number (from 0) and all of ``logs``.

    ``append`` goes on behind what the file holds.  A resumed run goes on too: it drops the rows of the epochs that it
    does again.
    """

    def __init__(self, filename: str | PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = Path(filename), separator, append
        self._fields: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin the file, or take up what stays of it."""
        self._fields = []
        resumed = self.trainer.epoch if self.trainer.resumed else None
        if not self.append and resumed is None:
            self.filename.write_text("")
        elif self.filename.exists():
            with open(self.filename, newline="") as file:
                rows = list(csv.reader(file, delimiter=self.separator))
            self._fields = rows[0] if rows else []
            if resumed is not None:
                with open(self.filename, "w", newline="") as file:
                    kept = [r for r in rows[1:] if r and r[0].isdigit() and int(r[0]) < resumed]
                    csv.writer(file, delimiter=self.separator).writerows([*rows[:1], *kept])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a row; it is on the disk before the next epoch begins."""
        values: dict[str, Any] = {"epoch": epoch, **(logs or {})}
        with open(self.filename, "a", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if not self._fields:
                self._fields = list(values)
                writer.writerow(self._fields)
            writer.writerow([values.get(name, "") for name in self._fields])
            file.flush()
            os.fsync(file.fileno())


class TensorBoard(Callback):
    """Event files for TensorBoard: ``epoch_NAME`` below ``log_dir/train`` and ``log_dir/validation``.

    With ``update_freq`` a number, ``batch_NAME`` every so many steps too.  Needs ``tensorboardX`` (or PyTorch with
    ``tensorboard``), which is asked for when it is made.
    """

    def __init__(self, log_dir: str | PathLike[str] = "logs", update_freq: str | int = "epoch") -> None:
        self.log_dir = Path(log_dir)
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self._class = _writer_class()
        self._writers: dict[str, Any] = {}

    def _writer(self, kind: str) -> Any:
        if kind not in self._writers:
            self._writers[kind] = self._class(str(self.log_dir / kind))
        return self._writers[kind]

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write the running means every ``update_freq`` steps."""
        if isinstance(self.update_freq, int) and self.trainer.step % self.update_freq == 0:
            for name, value in (logs or {}).items():
                self._writer("train").add_scalar(f"batch_{name}", value, self.trainer.step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the epoch's numbers and the learning rate."""
        for name, value in {**(logs or {}), "learning_rate": self.trainer.learning_rate}.items():
            kind = "validation" if name.startswith("val_") else "train"
            self._writer(kind).add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise A1400Error('TensorBoard\'s files need tensorboardX: pip install "a1400[tensorboard]"') from None
    return SummaryWriter
