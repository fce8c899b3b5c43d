"""Loader of the speech-recognition example on a small folder, and words spoken by espeak-ng where it is installed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile

from tests.examples.loading import example

data = example("speech_recognition", "data")
speak = example("speech_recognition", "speak")


def tones(folder, words=(("low", 300), ("high", 2000)), speakers=20):
    """Tones instead of words: a folder each, and one take of each speaker."""
    rng = np.random.default_rng(0)
    for word, hertz in words:
        (folder / word).mkdir()
        for speaker in range(speakers):
            time = np.arange(16_000) / 16_000
            sound = 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * rng.standard_normal(16_000)
            soundfile.write(folder / word / f"speaker{speaker}_nohash_0.wav", sound.astype(np.float32), 16_000)
    (folder / "_background_noise_").mkdir()


def test_words_are_read_and_speakers_divided(tmp_path):
    tones(tmp_path)
    found = data.load(tmp_path)
    assert found.words == ["high", "low"] and found.x_train.shape[1:] == (49, 40, 1)
    assert abs(float(found.x_train.mean())) < 1e-3 and float(found.x_train.std()) == pytest.approx(1, abs=1e-3)
    held = [data.speaker_is_held_out(f"speaker{n}_nohash_0.wav") for n in range(20)]
    assert len(found.y_test) == 2 * sum(held) > 0
    band = found.x_train[..., 0].mean(1).argmax(1)
    assert (band[found.y_train == 0] > band[found.y_train == 1].max()).all()
    (tmp_path / "testing_list.txt").write_text("low/speaker3_nohash_0.wav\nhigh/speaker4_nohash_0.wav\n")
    assert sorted(data.load(tmp_path).y_test) == [0, 1]
    assert data.load(tmp_path, ["low", "high"], most=15).words == ["low", "high"]


def test_folders_that_hold_no_words(tmp_path):
    with pytest.raises(ValueError, match="holds 0 words"):
        data.load(tmp_path)
    tones(tmp_path)
    with pytest.raises(ValueError, match="holds no folder stop"):
        data.load(tmp_path, ["low", "stop"])
    (tmp_path / "testing_list.txt").write_text("")
    with pytest.raises(ValueError, match="both to learn from and to hold out"):
        data.load(tmp_path)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_speaks_the_same_words_twice():
    first, again, other = (speak.take("yes", "en-us", v, np.random.default_rng(1)) for v in ("m1", "m1", "f1"))
    assert first.shape == (16_000,) and first.dtype == np.float32 and 0.1 < np.abs(first).max() <= 0.91
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_without_espeak_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt install espeak-ng"):
        speak.speak(tmp_path / "words")
