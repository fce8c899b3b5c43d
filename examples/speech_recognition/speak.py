"""Spoken words made on the spot by ``espeak-ng``: many voices, speeds and pitches, with noise; some voices held out.

    python examples/speech_recognition/speak.py FOLDER

writes the folder layout of Google's Speech Commands: ``FOLDER/word/speaker_nohash_take.wav`` (16 kHz, one second), and
``testing_list.txt`` with the takes of voices that training must not hear.  The speech is synthetic: what learns from it
knows these voices, not yours.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from a1400.io.audio import fit_length, read_audio

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
RATE = 16_000
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
VARIANTS = ("m1", "m2", "m4", "m6", "f1", "f2", "f4", "klatt", "klatt3")
#: never heard in training
HELD_OUT = ("m3", "m7", "f3")


def take(word: str, accent: str, variant: str, rng: np.random.Generator) -> np.ndarray:
    """One second of ``word``: speed 120 to 200 words a minute, pitch 25 to 75, noise 10 to 35 dB below the voice."""
    speed, pitch = rng.integers(120, 200), rng.integers(25, 75)
    shift, gain, decibels = rng.integers(-1600, 1600), rng.uniform(0.2, 0.9), rng.uniform(10, 35)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        command = ["espeak-ng", "-v", f"{accent}+{variant}", "-s", str(speed), "-p", str(pitch), "-w", str(path), word]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not path.exists():
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        sound = np.roll(fit_length(read_audio(path, RATE), RATE), shift)
    noise = rng.standard_normal(RATE)
    if rng.random() < 0.5:  # half of it pink: 1 / f, as rooms and streets have it
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), RATE)
    noise *= np.sqrt(np.mean(sound**2) / np.mean(noise**2)) * 10 ** (-decibels / 20)
    mixed = sound + noise
    return (gain * mixed / np.abs(mixed).max()).astype(np.float32)


def speak(folder: Path, takes: int = 3, seed: int = 1400, words: tuple[str, ...] = WORDS) -> int:
    """Write ``takes`` of each word by each voice into ``folder``; returns how many files there are.

    The same seed and version of espeak-ng give the same samples.
    """
    if shutil.which("espeak-ng") is None:
        raise RuntimeError("speaking needs espeak-ng: apt install espeak-ng (or brew install espeak-ng)")
    for word in words:
        (folder / word).mkdir(parents=True, exist_ok=True)
    jobs, held_out = [], []
    for accent in ACCENTS:
        for variant in (*VARIANTS, *HELD_OUT):
            for word in words:
                for number in range(takes):
                    name = f"{word}/{accent}.{variant}_nohash_{number}.wav"
                    jobs.append((word, accent, variant, name))
                    if variant in HELD_OUT:
                        held_out.append(name)

    def make(numbered: tuple[int, tuple[str, str, str, str]]) -> None:
        number, (word, accent, variant, name) = numbered
        sound = take(word, accent, variant, np.random.default_rng((seed, number)))
        soundfile.write(folder / name, sound, RATE, subtype="PCM_16")

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, enumerate(jobs)))
    # Written last: its presence says that the rest is complete.
    (folder / "testing_list.txt").write_text("".join(f"{name}\n" for name in held_out))
    return len(jobs)


def main(folder: Path, takes: Annotated[int, typer.Option(help="Of each word by each voice.")] = 3) -> None:
    """Speak ten words with many voices into FOLDER."""
    count = speak(folder, takes)
    print(f"{count} recordings of {len(WORDS)} words are in {folder}")


if __name__ == "__main__":
    typer.run(main)
