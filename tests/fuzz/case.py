"""One case of the fuzzer: a folder with a model, what to feed it with, and what must come out."""

from __future__ import annotations

import base64
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - makes its types known by name
import numpy as np

#: stands in every name and text that a mutation puts into a model: no kernel's source may hold it
MARK = "zqX9"
MODEL = "model.onnx"
#: lies beside the model's folder: nothing may read it
SECRET = "secret.bin"


@dataclass
class Case:
    """``files`` lie in the model's folder, ``links`` too (name to target; ``|`` makes a pipe).

    ``feeds`` are for the inputs that the model still has; others are made up.  ``expected`` are the outputs in order,
    where they are known.  ``note`` says how the case was made.
    """

    files: dict[str, bytes]
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    expected: list[np.ndarray] | None = None
    note: str = ""

    def write(self, base: Path) -> Path:
        """Lay the case out below ``base``; returns the model's folder."""
        folder = base / "case"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        (base / SECRET).write_bytes(bytes(range(256)) * 16)
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for name, target in self.links.items():
            if target == "|":
                os.mkfifo(folder / name)
            else:
                os.symlink(target, folder / name)
        return folder

    def to_json(self) -> str:
        """As text, for a regression file."""
        whole: dict[str, Any] = {"note": self.note, "links": self.links}
        whole["files"] = {name: base64.b64encode(data).decode() for name, data in self.files.items()}
        whole["feeds"] = {name: pack(array) for name, array in self.feeds.items()}
        whole["expected"] = None if self.expected is None else [pack(a) for a in self.expected]
        return json.dumps(whole, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Case:
        """What :meth:`to_json` wrote."""
        whole = json.loads(text)
        return cls(
            {name: base64.b64decode(data) for name, data in whole["files"].items()},
            {name: unpack(array) for name, array in whole["feeds"].items()},
            whole["links"],
            None if whole["expected"] is None else [unpack(a) for a in whole["expected"]],
            whole["note"],
        )


def pack(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON."""
    array = np.asarray(array)
    if array.dtype == object:
        return {"dtype": "object", "shape": list(array.shape), "items": [str(x) for x in array.reshape(-1)]}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """What :func:`pack` packed."""
    if packed["dtype"] == "object":
        made = np.empty(len(packed["items"]), object)
        made[:] = packed["items"]
        return made.reshape(packed["shape"])
    dtype = np.dtype(packed["dtype"])
    return np.frombuffer(base64.b64decode(packed["data"]), dtype).reshape(packed["shape"])
