"""Recordings as model inputs: read, resample, cut to length, and turn into log-mel spectrograms.

The mel scale is O'Shaughnessy's, 2595 log10(1 + f / 700), with triangular filters of height one (Davis and Mermelstein,
"Comparison of parametric representations for monosyllabic word recognition", 1980).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from a1400.errors import InputError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3"})
#: the key of an ONNX model's metadata that says how recordings become its input
METADATA_KEY = "a1400.log_mel"
#: samples of all channels together that a file may hold
MOST_SAMPLES = 1 << 28


@dataclass(frozen=True)
class AudioFormat:
    """How a recording becomes a log-mel spectrogram.

    ``rate`` samples per second, ``seconds`` of sound; frames of ``window`` samples start every ``hop`` samples;
    ``mels`` filters between ``low`` and ``high`` Hz; an energy below ``floor`` counts as ``floor``; the natural
    logarithm ``y`` becomes ``(y - mean) / std``.
    """

    rate: int = 16_000
    seconds: float = 1.0
    window: int = 400
    hop: int = 320
    mels: int = 40
    low: float = 20.0
    high: float = 7_600.0
    floor: float = 1e-6
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        numbers = [getattr(self, f.name) for f in fields(self)]
        whole = (self.rate, self.window, self.hop, self.mels)
        if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
            raise InputError("an audio format's entries are finite numbers")
        if not all(isinstance(n, int) and 0 < n <= 1 << 20 for n in whole) or self.std == 0 or self.floor <= 0:
            raise InputError(f"this audio format makes no sense: {self}")
        if not (0 <= self.low < self.high <= self.rate / 2 and self.window <= self.samples <= 1 << 26):
            raise InputError(f"this audio format makes no sense: {self}")

    @property
    def samples(self) -> int:
        """Samples of a recording."""
        return round(self.rate * min(self.seconds, 1e6))

    @property
    def frames(self) -> int:
        """Frames of a spectrogram."""
        return 1 + (self.samples - self.window) // self.hop

    @property
    def bins(self) -> int:
        """Points of the Fourier transform: the next power of two that holds a window."""
        return 1 << (self.window - 1).bit_length()

    def to_json(self) -> str:
        """Text that :meth:`from_json` reads, for a model's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AudioFormat:
        """Raises :class:`InputError` for a text that describes no format."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the model's entry {METADATA_KEY!r} is no JSON: {error}") from None
        known = {f.name for f in fields(cls)}
        if not isinstance(found, dict) or not set(found) <= known:
            raise InputError(f"the model's entry {METADATA_KEY!r} may hold {', '.join(sorted(known))} only")
        return cls(**found)

    @classmethod
    def of_model(cls, metadata: Mapping[str, str]) -> AudioFormat | None:
        """What a model's metadata says; None if nothing."""
        text = metadata.get(METADATA_KEY)
        return None if text is None else cls.from_json(text)


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The recording in ``path``: float32 [samples] in -1..1, channels averaged, at ``rate`` samples per second.

    Needs soundfile and soxr (``pip install "a1400[audio]"``).  Raises :class:`InputError` for files that hold no sound.
    """
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise InputError(f'reading {path} needs {error.name}: pip install "a1400[audio]"') from None
    if not path.is_file():
        raise InputError(f"{path} is not a file" if path.exists() else f"input file {path} does not exist")
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames * file.channels > MOST_SAMPLES:
                raise InputError(f"{path} is too long: it holds more than {MOST_SAMPLES:,} samples")
            sound, found = file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    sound = sound.mean(1)
    if not sound.size or not np.isfinite(sound).all():
        raise InputError(f"cannot read {path}: it holds no sound, or samples that are not finite")
    return np.asarray(soxr.resample(sound, found, rate) if found != rate else sound, np.float32)


def fit_length(sound: np.ndarray, samples: int) -> np.ndarray:
    """``samples`` of ``sound``: the loudest stretch of a longer one, silence on both sides of a shorter one."""
    spare = len(sound) - samples
    if spare <= 0:
        return np.pad(sound, (-spare // 2, -spare - -spare // 2))
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[samples:] - energy[:-samples]))
    return sound[start : start + samples]


@cache
def mel_filters(bins: int, rate: int, mels: int, low: float, high: float) -> np.ndarray:
    """Triangular filters, float64 [bins // 2 + 1, mels]: what each frequency adds to each mel band."""
    edges = _hertz(np.linspace(_mel(low), _mel(high), mels + 2))
    frequencies = np.arange(bins // 2 + 1) * (rate / bins)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)


def log_mel(sound: np.ndarray, form: AudioFormat) -> np.ndarray:
    """The spectrogram of ``sound`` (float32 [samples] at the format's rate, any length): float32 [frames, mels]."""
    fitted = fit_length(np.asarray(sound, np.float32), form.samples)
    frames = np.lib.stride_tricks.sliding_window_view(fitted, form.window)[:: form.hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(form.window + 1)[:-1], form.bins)) ** 2
    energy = power @ mel_filters(form.bins, form.rate, form.mels, form.low, form.high)
    return ((np.log(np.maximum(energy, form.floor)) - form.mean) / form.std).astype(np.float32)


def spectrogram_for(path: Path, form: AudioFormat, shape: Sequence[int | str | None], dtype: Any) -> np.ndarray:
    """The recording in ``path`` as a batch of one for a model input of ``shape``: its sizes other than 1 behind the
    batch are frames and mels.  Raises :class:`InputError` where it cannot be read or does not fit."""
    picture = log_mel(read_audio(path, form.rate), form)
    inner = [n for n in shape[1:] if n != 1]
    if len(shape) < 3 or len(inner) != 2 or any(isinstance(n, int) and n != m for n, m in zip(inner, picture.shape)):
        raise InputError(f"an input of shape {list(shape)} cannot take a spectrogram of {picture.shape}")
    sizes = iter(picture.shape)
    return picture.reshape([1, *(1 if n == 1 else next(sizes) for n in shape[1:])]).astype(dtype)
