"""Compiled programs on disk: one file per program, believed only if it proves itself.

A file is ``magic | key digest (32) | payload digest (32) | payload``.  A truncated, corrupt or foreign file fails
a digest and counts as absent.  Writes go to a temporary file that is renamed, so that concurrent processes see
a whole entry or none.  A cache that cannot be written is silently not used: it only saves time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from a1400 import config

_MAGIC = b"a1400-program-1\n"


def digest(*parts: str) -> bytes:
    """SHA-256 over ``parts``, each with its length so that no two lists of parts collide."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.digest()


class ProgramCache:
    """The folder ``programs`` under :func:`a1400.config.cache_dir`, read each time so that tests may move it."""

    def path(self, key: bytes) -> Path:
        """File that holds the program of ``key`` (a 32-byte digest)."""
        return config.cache_dir() / "programs" / f"{key.hex()}.bin"

    def load(self, key: bytes) -> bytes | None:
        """The payload stored under ``key``; None when absent, damaged or stored for another key."""
        path = self.path(key)
        try:
            if not path.is_file():
                return None
            data = path.read_bytes()
        except OSError:
            return None
        start = len(_MAGIC) + 64
        payload = data[start:]
        if data[:start] != _MAGIC + key + hashlib.sha256(payload).digest() or not payload:
            return None
        return payload

    def store(self, key: bytes, payload: bytes) -> None:
        """Keep ``payload`` under ``key``; does nothing where the folder cannot be written."""
        path = self.path(key)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + key + hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, path)
        except OSError:
            if temporary is not None:
                self._remove(Path(temporary))

    def discard(self, key: bytes) -> None:
        """Forget ``key``, e.g. because the driver refused its payload."""
        self._remove(self.path(key))

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
