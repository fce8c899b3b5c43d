"""Outputs to an ``.npz`` file."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from a1400.dtypes import bfloat16
from a1400.errors import InputError


def joined(results: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Outputs of several runs as one array per name, stacked along the first axis where shapes allow.

    Where they do not, each run's array gets a name of its own: ``name[0]``, ``name[1]`` ...
    """
    if len(results) == 1:
        return dict(results[0])
    arrays: dict[str, np.ndarray] = {}
    for name in results[0]:
        parts = [result[name] for result in results]
        if parts[0].ndim and len({part.shape[1:] for part in parts}) == 1 and len({part.ndim for part in parts}) == 1:
            arrays[name] = np.concatenate(parts)
        else:
            arrays.update({f"{name}[{k}]": part for k, part in enumerate(parts)})
    return arrays


def save_npz(path: Path, results: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
    """Write outputs to ``path``; returns remarks.  Raises :class:`InputError` if it cannot.

    A file is written whole or not at all.  What is no file, such as a pipe or a device, is written to, never replaced.
    """
    arrays, notes = {}, []
    for name, array in joined(results).items():
        if array.dtype == bfloat16:
            array = array.astype(np.float32)
            notes.append(f"{name} is bfloat16, which .npz cannot hold: saved as float32")
        arrays[name] = array
    target = Path(os.path.realpath(path))  # through a link: the file it leads to
    temporary = None
    try:
        if target.is_dir():
            raise InputError(f"cannot write {path}: it is a folder, --save wants the name of a file")
        if target.exists() and not target.is_file():
            with open(target, "wb") as file:
                _write(file, arrays)
            return notes
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".a1400-")
        with os.fdopen(handle, "wb") as file:
            _write(file, arrays)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            os.unlink(temporary)
    return notes


def _write(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    # Written member by member: numpy.savez takes names as keywords, and an output may be called "file".
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
