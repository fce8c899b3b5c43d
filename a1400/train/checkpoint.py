"""Checkpoints: one ``safetensors`` file with everything that a run needs to go on as if it had never stopped.

Tensors are named ``parameter/NAME``, ``buffer/NAME``, ``slot/KIND/NAME``, ``random/NAME`` and ``callback/I/NAME``; what
is no tensor lies as JSON in the file's metadata under ``a1400``.  A digest of all tensors lies beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from a1400.errors import CheckpointError
from a1400.train.files import write_atomically

#: what files written by this version say of their form
FORMAT = 1
_KEY = "a1400"


@dataclass
class Checkpoint:
    """``tensors`` by name, and JSON-ready ``state``."""

    tensors: dict[str, np.ndarray]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """The tensors below ``prefix/``, without it."""
        return {n[len(prefix) + 1 :]: a for n, a in self.tensors.items() if n.startswith(prefix + "/")}


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path`` so that there is always a whole file: the old one or the new one.

    Raises :class:`CheckpointError` where the file cannot be written.
    """
    from safetensors.numpy import save

    tensors, dtypes = {}, {}
    for name, array in checkpoint.tensors.items():
        plain = np.ascontiguousarray(array).reshape(array.shape)
        if plain.dtype.kind not in "fiub":  # bfloat16: safetensors' NumPy face does not know it
            dtypes[name] = plain.dtype.name
            plain = plain.view(f"u{plain.dtype.itemsize}")
        tensors[name] = plain
    content = {
        "format": FORMAT, "state": checkpoint.state, "dtypes": dtypes, "digest": _digest(tensors),
    }  # fmt: skip
    try:
        write_atomically(path, save(tensors, {_KEY: json.dumps(content)}))
    except OSError as error:
        raise CheckpointError(f"the checkpoint {str(path)!r} cannot be written: {error}") from None


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in ``path``; :class:`CheckpointError` for one that is missing, damaged or something else."""
    import ml_dtypes
    from safetensors import SafetensorError, safe_open

    where = repr(str(path))
    if not Path(path).is_file():
        raise CheckpointError(f"there is no checkpoint {where}")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{where} is no checkpoint, or is damaged: {error}") from None
    if _KEY not in metadata:
        raise CheckpointError(f"{where} is a safetensors file, but no checkpoint of a1400's trainer")
    try:
        content = json.loads(metadata[_KEY])
        version, state, dtypes, digest = (content[k] for k in ("format", "state", "dtypes", "digest"))
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{where} is damaged: its metadata cannot be read") from None
    if version != FORMAT:
        raise CheckpointError(f"{where} has format {version}, this version reads {FORMAT}")
    if _digest(tensors) != digest:
        raise CheckpointError(f"{where} is damaged: its tensors are not what was written")
    for name, dtype in dtypes.items():
        tensors[name] = tensors[name].view(getattr(ml_dtypes, dtype, dtype))
    return Checkpoint(tensors, state)


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        array = tensors[name]
        whole.update(f"{name} {array.dtype} {array.shape} ".encode())
        whole.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return whole.hexdigest()


def separate(value: Any, prefix: str, tensors: dict[str, np.ndarray]) -> Any:
    """``value`` (dicts, lists, numbers, arrays) JSON-ready; arrays go to ``tensors``, their names stay."""
    if isinstance(value, np.ndarray) and value.ndim:
        name = f"{prefix}/{len(tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[k, separate(v, prefix, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return [separate(v, prefix, tensors) for v in value]
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def join(value: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    """What :func:`separate` was given."""
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {k: join(v, tensors) for k, v in value["dict"]}
    return [join(v, tensors) for v in value] if isinstance(value, list) else value
