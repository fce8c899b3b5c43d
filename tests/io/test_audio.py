"""Recordings to spectrograms, against formulas written down another way; and what hostile files and formats give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile

from a1400.errors import InputError
from a1400.io.audio import METADATA_KEY, AudioFormat, fit_length, log_mel, mel_filters, read_audio, spectrogram_for

FORM = AudioFormat()


def tone(hertz: float, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_a_frame_is_its_windowed_spectrum_through_the_filters():
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(FORM.samples).astype(np.float32)
    found = log_mel(sound, FORM)
    assert found.shape == (FORM.frames, FORM.mels) == (49, 40) and found.dtype == np.float32
    frame, band = 7, 21
    n = np.arange(FORM.window)
    windowed = sound[frame * FORM.hop :][: FORM.window] * (0.5 - 0.5 * np.cos(2 * np.pi * n / FORM.window))
    edges = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(
        2595 * math.log10(1 + FORM.low / 700), 2595 * math.log10(1 + FORM.high / 700), FORM.mels + 2)]  # fmt: skip
    energy = 0.0
    for k in range(FORM.bins // 2 + 1):
        f = k * FORM.rate / FORM.bins
        left, middle, right = edges[band : band + 3]
        weight = (f - left) / (middle - left) if f <= middle else (right - f) / (right - middle)
        if weight > 0:
            energy += weight * abs(np.sum(windowed * np.exp(-2j * np.pi * k * n / FORM.bins))) ** 2
    assert found[frame, band] == pytest.approx(math.log(energy), rel=1e-5)


def test_a_tone_stands_in_its_band():
    filters = mel_filters(FORM.bins, FORM.rate, FORM.mels, FORM.low, FORM.high)
    for hertz in (300, 1000, 5000):
        band = int(log_mel(tone(hertz), FORM)[20].argmax())
        peak = filters[:, band].argmax() * FORM.rate / FORM.bins
        assert abs(peak - hertz) < 0.12 * hertz + FORM.rate / FORM.bins


def test_mean_and_std_are_applied_and_silence_is_the_floor():
    form = AudioFormat(mean=-3.0, std=2.0, floor=1e-4)
    assert np.allclose(log_mel(np.zeros(100, np.float32), form), (math.log(1e-4) + 3) / 2)


def test_length_is_fitted_by_silence_or_to_the_loudest_stretch():
    assert fit_length(np.ones(3, np.float32), 8).tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    sound = np.zeros(100, np.float32)
    sound[60:70] = 1
    assert fit_length(sound, 10).sum() == 10
    assert fit_length(sound, 100) is not None and len(fit_length(sound, 100)) == 100


def test_files_are_read_resampled_and_mixed(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.stack([tone(440, rate=8000), np.zeros(8000, np.float32)], 1), 8000, subtype="FLOAT")
    sound = read_audio(path, 16_000)
    assert sound.dtype == np.float32 and len(sound) == 16_000
    assert np.abs(sound[1000:-1000] - 0.5 * tone(440)[1000:-1000]).max() < 1e-2
    for shape in (("n", 49, 40, 1), (1, 1, 49, 40), (None, 49, 40)):
        found = spectrogram_for(path, FORM, shape, np.dtype(np.float32))
        assert [m for m in found.shape if m != 1] == [49, 40] and found.ndim == len(shape)
    with pytest.raises(InputError, match="cannot take a spectrogram"):
        spectrogram_for(path, FORM, (1, 40, 49, 1), np.dtype(np.float32))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff", b"no sound at all"])
def test_what_is_no_sound(tmp_path, content):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*bad\.wav"):
        read_audio(path, 16_000)
    with pytest.raises(InputError, match="does not exist"):
        read_audio(tmp_path / "absent.wav", 16_000)
    with pytest.raises(InputError, match="is not a file"):
        read_audio(tmp_path, 16_000)


def test_sound_that_is_not_finite(tmp_path):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.full(100, np.nan, np.float32), 8000, subtype="FLOAT")
    with pytest.raises(InputError, match="not finite"):
        read_audio(path, 8000)


def test_a_format_goes_through_a_models_metadata():
    form = AudioFormat(rate=8000, high=3500.0, mels=20)
    assert AudioFormat.of_model({METADATA_KEY: form.to_json()}) == form
    assert AudioFormat.of_model({"other": "x"}) is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "3", '{"colour": 1}', '{"rate": "fast"}', '{"rate": 0}', '{"hop": -1}', '{"seconds": 1e300}',
     '{"window": 100000}', '{"std": 0}', '{"mean": NaN}', '{"low": 9000}', '{"mels": 1e99}', "[" * 100_000],
)  # fmt: skip
def test_a_format_that_makes_no_sense(text):
    with pytest.raises(InputError):
        AudioFormat.from_json(text)
