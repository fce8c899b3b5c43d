"""Tensor data kept in files beside the model: mapped, never read whole, and never outside the model's folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from a1400.errors import ModelFileError
from a1400.frontends.onnx.mapped import MappedFile
from a1400.frontends.onnx.payloads import Payloads


class ExternalData:
    """The data files of one model folder, each mapped once, and what was left in the model's own file.

    ``folder`` is None when the model did not come from a file; then every reference is an error.
    """

    def __init__(self, folder: Path | None, payloads: Payloads | None = None, file: MappedFile | None = None) -> None:
        self.folder, self._payloads = folder, payloads
        self._maps: dict[str, MappedFile] = {}
        self._files = [] if file is None else [file]

    def check(self, maps: Collection[Any] | None = None) -> None:
        """Raise :class:`ModelFileError` if a mapped file was written to since: one of ``maps``, or any (None)."""
        for file in (*self._files, *self._maps.values()):
            if maps is None or file.map in maps:
                file.check()

    def inline(self, raw: bytes) -> np.ndarray:
        """The bytes (u8[n], read-only) of a tensor whose ``raw_data`` is ``raw``."""
        found = self._payloads.find(raw) if self._payloads is not None else None
        return np.frombuffer(raw, np.uint8) if found is None else found

    def read(self, tensor: str, location: str, offset: str, length: str, expected: int) -> np.ndarray:
        """The ``expected`` bytes (u8[expected], read-only) of ``tensor`` at ``location``.

        ``offset`` and ``length`` are the texts of the model file, empty where absent.  Raises
        :class:`ModelFileError` for a location outside the folder and for a range outside the file.
        """
        where = f"external data of tensor {tensor!r}"
        data = self._map(where, location)
        start = _number(where, "offset", offset, 0)
        count = _number(where, "length", length, expected)
        if count != expected:
            raise ModelFileError(f"{where}: the model gives {count} bytes, its shape and type need {expected}")
        if start > data.size or count > data.size - start:
            raise ModelFileError(
                f"{where}: bytes {start} to {start + count} are outside {location!r}, which has {data.size} bytes"
            )
        return data[start : start + count]

    def _map(self, where: str, location: str) -> np.ndarray:
        if location not in self._maps:
            path = self._resolve(where, location)
            try:
                self._maps[location] = MappedFile(path, f"{where}: {location!r}")
            except OSError as error:
                raise ModelFileError(f"{where}: cannot read {location!r}: {error.strerror or error}") from None
        return self._maps[location].data

    def _resolve(self, where: str, location: str) -> Path:
        if self.folder is None:
            raise ModelFileError(f"{where} is in file {location!r}: load the model from its path, not from memory")
        windows, posix = PureWindowsPath(location), PurePosixPath(location)
        outside = windows.drive or windows.root or posix.is_absolute() or ".." in windows.parts or ".." in posix.parts
        if not location or "\0" in location or outside:
            raise ModelFileError(f"{where}: location {location!r} is not a path inside the model's folder")
        root = self.folder.resolve()
        try:
            path = (root / location).resolve(strict=True)
        except FileNotFoundError:
            raise ModelFileError(f"{where}: file {location!r} is missing from {str(self.folder)!r}") from None
        except (OSError, RuntimeError) as error:
            raise ModelFileError(f"{where}: cannot read {location!r}: {error}") from None
        if not path.is_relative_to(root):
            raise ModelFileError(f"{where}: {location!r} is a link that leaves the model's folder")
        if not path.is_file():
            raise ModelFileError(f"{where}: {location!r} is not a regular file")
        return path


def _number(where: str, key: str, text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelFileError(f"{where}: {key} {text!r} is not a number of bytes")
    return int(text)
