"""Pictures as model inputs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from a1400.errors import InputError
from a1400.io.image import format_for, guess_layout, read_picture

F32 = np.dtype(np.float32)


@pytest.fixture
def colours(tmp_path):
    """A 6 by 5 (width by height) picture whose channels are 10, 20 and 30."""
    path = tmp_path / "colours.png"
    Image.fromarray(np.full((5, 6, 3), (10, 20, 30), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((1, 3, 224, 224), "NCHW"),
        (("n", 1, 8, 8), "NCHW"),
        ((1, 224, 224, 3), "NHWC"),
        ((None, None, None, None), "NCHW"),
        ((3, 32, 32), "CHW"),
        ((32, 32, 3), "HWC"),
        (("n", 28, 28), "NHW"),
        ((28, 28), "HW"),
    ],
)
def test_layouts_are_guessed_from_where_the_channels_stand(shape, layout):
    assert guess_layout(shape) == layout


def test_a_shape_that_takes_no_picture():
    with pytest.raises(InputError, match="cannot take a picture"):
        guess_layout((1, 2, 3, 4, 5))


def test_nchw_and_nhwc(colours):
    x = read_picture(colours, format_for((1, 3, 5, 6), F32))
    assert x.shape == (1, 3, 5, 6) and x.dtype == F32 and x.flags.c_contiguous
    np.testing.assert_allclose(x[0, :, 0, 0] * 255, [10, 20, 30], rtol=1e-6)
    y = read_picture(colours, format_for((1, 5, 6, 3), F32))
    np.testing.assert_array_equal(y, x.transpose(0, 2, 3, 1))


def test_mean_std_scale_and_order(colours):
    form = format_for((1, 3, 5, 6), F32, scale=1, mean=(1, 2, 3), std=(3, 2, 1), channels="bgr")
    np.testing.assert_allclose(read_picture(colours, form)[0, :, 0, 0], [(30 - 1) / 3, (20 - 2) / 2, (10 - 3) / 1])


def test_integer_inputs_get_the_pixels_themselves(colours):
    x = read_picture(colours, format_for((1, 3, 5, 6), np.dtype(np.uint8)))
    assert x.dtype == np.uint8
    np.testing.assert_array_equal(x[0, :, 0, 0], [10, 20, 30])


def test_an_enlarged_picture_comes_back_exactly(tmp_path):
    small = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(small).resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "x.png")
    x = read_picture(tmp_path / "x.png", format_for(("n", 1, 8, 8), np.dtype(np.uint8)))
    np.testing.assert_array_equal(x[0, 0], small)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_other_proportions(tmp_path, fit):
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 255  # the middle third is white
    Image.fromarray(pixels).save(tmp_path / "x.png")
    x = read_picture(tmp_path / "x.png", format_for((1, 1, 8, 8), F32, fit=fit))[0, 0]
    expected = {"crop": 1.0, "stretch": 1 / 3, "pad": 1 / 9}[fit]
    assert x.shape == (8, 8) and abs(x.mean() - expected) < 0.04


def test_dynamic_sizes_keep_the_picture(colours):
    assert read_picture(colours, format_for((None, 3, "h", "w"), F32)).shape == (1, 3, 5, 6)
    assert read_picture(colours, format_for((None, 3, "h", "w"), F32, size=(10, 12))).shape == (1, 3, 10, 12)


def test_see_through_is_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png", format_for((1, 1, 4, 4), F32)).min() == 1


def test_16_bit_greys_are_scaled(tmp_path):
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(tmp_path / "x.png")
    x = read_picture(tmp_path / "x.png", format_for((1, 1, 1, 3), F32))
    np.testing.assert_allclose(x.reshape(-1), [0, 0.5, 1], atol=0.01)


@pytest.mark.filterwarnings("error")
def test_pixels_that_are_no_number_are_black(tmp_path):
    Image.fromarray(np.float32([[np.nan, 255], [-np.inf, np.inf]])).save(tmp_path / "x.tif")
    pixels = read_picture(tmp_path / "x.tif", format_for((1, 1, 2, 2), F32))
    np.testing.assert_array_equal(pixels[0, 0], [[0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "NHWX"}, "not one of"),
        ({"layout": "CHW"}, "does not fit"),
        ({"channels": "cmyk"}, "not one of"),
        ({"channels": "gray"}, "1 channels, the input has 3"),
        ({"mean": (1, 2)}, "2 values for 3 channels"),
        ({"std": (0,)}, "must not be 0"),
        ({"std": (1e-300,)}, "must not be 0"),
        ({"std": (1, float("nan"), 1)}, "std must be finite"),
        ({"mean": (1e300,)}, "mean must be finite"),
        ({"scale": float("inf")}, "scale must be finite"),
        ({"channels": "²"}, "not one of"),
        ({"fit": "squash"}, "not one of"),
    ],
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(InputError, match=words):
        format_for((1, 3, 5, 6), F32, **options)


def test_huge_pictures_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (15, 15)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="too large"):
        read_picture(tmp_path / "x.png", format_for((1, 1, 8, 8), F32))
