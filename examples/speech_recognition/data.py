"""Spoken words in the folder layout of Google's Speech Commands (Warden, 2018) as log-mel spectrograms."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from a1400.io.audio import SUFFIXES, AudioFormat, log_mel, read_audio


@dataclass
class Data:
    """Spectrograms as float32 [N, frames, mels, 1], their words as int64 [N], the words' names, and the format of the
    spectrograms, with the training set's mean and standard deviation in it."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    words: list[str]
    form: AudioFormat


def load(folder: Path, words: Sequence[str] | None = None, most: int | None = None) -> Data:
    """The recordings in ``folder/word/*.wav``.

    Those that ``folder/testing_list.txt`` names are held out; without such a list, those of a fifth of the speakers are
    (a speaker is what stands before ``_nohash_``).  ``words`` chooses among the folders, ``most`` limits the recordings
    of each word.  Raises ``ValueError`` for a folder that holds no words.
    """
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
    if words and (missing := sorted(set(words) - set(found))):
        raise ValueError(f"{folder} holds no folder {', '.join(missing)}")
    names = list(words or found)
    if len(names) < 2:
        raise ValueError(f"{folder} holds {len(names)} words: a folder of recordings per word is wanted")
    listed = folder / "testing_list.txt"
    testing = set(listed.read_text(encoding="utf-8").split()) if listed.is_file() else None
    files: list[tuple[Path, int, bool]] = []
    for number, name in enumerate(names):
        paths = sorted(p for p in (folder / name).iterdir() if p.suffix.lower() in SUFFIXES)[:most]
        if not paths:
            raise ValueError(f"{folder / name} holds no recordings")
        for path in paths:
            key = f"{name}/{path.name}"
            files.append((path, number, key in testing if testing is not None else speaker_is_held_out(path.name)))
    form = AudioFormat()
    with ThreadPoolExecutor() as pool:
        spectra = list(pool.map(lambda item: log_mel(read_audio(item[0], form.rate), form), files))
    held = np.array([is_held for _, _, is_held in files])
    if held.all() or not held.any():
        raise ValueError(f"{folder} needs recordings both to learn from and to hold out; {held.sum()} are held out")
    x, y = np.stack(spectra)[..., None], np.array([number for _, number, _ in files], np.int64)
    mean, std = float(x[~held].mean(dtype=np.float64)), float(x[~held].std(dtype=np.float64))
    x = ((x - mean) / std).astype(np.float32)
    return Data(x[~held], y[~held], x[held], y[held], names, replace(form, mean=mean, std=std))


def speaker_is_held_out(name: str, share: float = 0.2) -> bool:
    """Whether the speaker of file ``name`` is among the held-out ``share``: decided by a hash, so it stays that way."""
    speaker = re.sub(r"_nohash_.*$", "", name)
    number = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big")
    return number < share * 2**64
