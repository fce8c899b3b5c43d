"""Files whose bytes are used where they lie: mapped, and watched for changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from a1400.errors import ModelFileError
from a1400.memory.mapped import map_of


class MappedFile:
    """A file as ``data`` (u8[size], read-only).

    Raises ``OSError`` where it cannot be read and :class:`ModelFileError` where it is no regular file: a pipe would
    keep us waiting, a device need not end.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path, self._where = str(path), where
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait already
            raise ModelFileError(f"{where} is not a regular file")
        # checked again through the descriptor, so that what is checked is what is mapped
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError(f"{where} is not a regular file")
            self._identity = _identity(status)
            empty = status.st_size == 0
            self.data = np.zeros(0, np.uint8) if empty else np.asarray(np.memmap(file, np.uint8, "r"))
            self.map = map_of(self.data)

    def check(self) -> None:
        """Raise :class:`ModelFileError` if somebody has written into the file: its bytes are no longer what they were.

        Another file in its place, or none, does not matter: the map keeps the old one.
        """
        try:
            now = _identity(os.stat(self._path))
        except OSError:
            return
        if now[:2] == self._identity[:2] and now != self._identity:
            raise ModelFileError(
                f"{self._where} was changed after it was loaded: load the model again (write a new version to another "
                "file and rename it, then models in use are not disturbed)"
            )


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
