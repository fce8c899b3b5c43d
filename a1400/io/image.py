"""Pictures as model inputs: read, fit, scale, normalise, lay out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from a1400 import dtypes
from a1400.errors import InputError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
LAYOUTS = ("NCHW", "NHWC", "CHW", "HWC", "NHW", "HW")
FITS = ("crop", "stretch", "pad")
# name -> (count, reversed order)
_CHANNELS = {"gray": (1, False), "rgb": (3, False), "bgr": (3, True), "rgba": (4, False)}
_BY_COUNT = {1: "gray", 3: "rgb", 4: "rgba"}


@dataclass(frozen=True)
class PictureFormat:
    """How a picture becomes an array.

    ``size`` is (height, width), None: as the picture is.  ``fit`` says what happens to a picture of other
    proportions: ``crop`` scales it to cover the size and cuts the rest evenly off, ``stretch`` distorts it, ``pad``
    scales it into the size and fills with black.  A pixel of 0..255 becomes ``(pixel * scale - mean) / std``.
    ``channels`` is ``gray``, ``rgb``, ``bgr`` or ``rgba``; ``layout`` one of :data:`LAYOUTS`.
    """

    layout: str
    channels: str
    dtype: np.dtype
    size: tuple[int, int] | None
    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    fit: str = "crop"


def guess_layout(shape: Sequence[int | str | None]) -> str:
    """The layout that an input of ``shape`` (names or None where not fixed) most likely has.

    Raises :class:`InputError` where the shape cannot be a picture's.
    """
    if len(shape) == 4:
        return "NHWC" if shape[3] in _BY_COUNT and shape[1] not in _BY_COUNT else "NCHW"
    if len(shape) == 3:
        if shape[0] in (3, 4) or (shape[0] == 1 and shape[2] not in (3, 4)):
            return "CHW"
        return "HWC" if shape[2] in _BY_COUNT else "NHW"
    if len(shape) == 2:
        return "HW"
    raise InputError(f"an input of {len(shape)} dimensions {list(shape)} cannot take a picture")


def format_for(
    shape: Sequence[int | str | None],
    dtype: np.dtype,
    *,
    layout: str | None = None,
    channels: str | None = None,
    size: tuple[int, int] | None = None,
    scale: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    fit: str = "crop",
) -> PictureFormat:
    """The format for a model input of ``shape`` and ``dtype``; what is None is derived from them.

    Derived: layout from where the 1, 3 or 4 channels stand, ``gray`` for one channel, the input's height and width,
    scale 1/255 for floating inputs and 1 for integers.  Raises :class:`InputError` for what does not fit the input.
    """
    layout = (layout or guess_layout(shape)).upper()
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout} is not one of {', '.join(LAYOUTS)}")
    if len(layout) != len(shape):
        raise InputError(f"layout {layout} does not fit an input of shape {list(shape)}")
    sizes = dict(zip(layout, shape))
    count = sizes.get("C", 1)
    if channels is None:
        if isinstance(count, int) and count not in _BY_COUNT:
            raise InputError(f"the input has {count} channels in layout {layout}; a picture has 1, 3 or 4")
        channels = _BY_COUNT[count] if isinstance(count, int) else "rgb"
    channels = _BY_COUNT.get(int(channels), channels) if channels.isdecimal() else channels.lower()
    if channels not in _CHANNELS:
        raise InputError(f"channels {channels} is not one of {', '.join(_CHANNELS)}")
    if isinstance(count, int) and count != _CHANNELS[channels][0]:
        raise InputError(f"{channels} pictures have {_CHANNELS[channels][0]} channels, the input has {count}")
    if size is None:
        height, width = sizes["H"], sizes["W"]
        if isinstance(height, int) and isinstance(width, int):
            size = (height, width)
    if fit not in FITS:
        raise InputError(f"fit {fit} is not one of {', '.join(FITS)}")
    made = PictureFormat(
        layout=layout,
        channels=channels,
        dtype=np.dtype(dtype),
        size=size,
        scale=scale if scale is not None else (1 / 255 if dtypes.is_float(dtype) else 1.0),
        mean=tuple(mean) if mean else (0.0,),
        std=tuple(std) if std else (1.0,),
        fit=fit,
    )
    for what, values in (("mean", made.mean), ("std", made.std)):
        if len(values) not in (1, _CHANNELS[channels][0]):
            raise InputError(f"{what} has {len(values)} values for {_CHANNELS[channels][0]} channels")
    with np.errstate(all="ignore"):
        numbers = {k: np.array(getattr(made, k), np.float32) for k in ("scale", "mean", "std")}
    for what, value in numbers.items():
        if not np.isfinite(value).all():
            raise InputError(f"{what} must be finite numbers")
    if not numbers["std"].all():
        raise InputError("std must not be 0")
    return made


def read_picture(path: Path, form: PictureFormat) -> np.ndarray:
    """The picture in file ``path`` as an array of ``form``; a batch dimension in the layout has size 1.

    Raises :class:`InputError` for what is not a readable picture.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"picture {path} is not a file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                picture = _with_channels(ImageOps.exif_transpose(opened), form.channels)
    except FileNotFoundError:
        raise InputError(f"picture {path} does not exist") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"picture {path} is too large") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # Pillow's decoders raise all of these
        raise InputError(f"cannot read picture {path}: {' '.join(str(error).split())}") from None
    if form.size is not None:
        picture = _fitted(picture, form.size, form.fit)
    pixels = np.asarray(picture, np.float32)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if _CHANNELS[form.channels][1]:
        pixels = pixels[:, :, ::-1]
    values = (pixels * np.float32(form.scale) - np.array(form.mean, np.float32)) / np.array(form.std, np.float32)
    if not dtypes.is_float(form.dtype):
        limits = np.iinfo(form.dtype) if dtypes.is_int(form.dtype) else None
        values = np.rint(values) if limits is None else np.clip(np.rint(values), limits.min, limits.max)
    if "C" not in form.layout:
        values = values[:, :, 0]
    elif form.layout.index("C") < form.layout.index("H"):
        values = values.transpose(2, 0, 1)
    if form.layout.startswith("N"):
        values = values[None]
    return np.ascontiguousarray(values.astype(form.dtype))


def _with_channels(picture: Image.Image, channels: str) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":  # 16-bit greys: Pillow would clip them, not scale them
        values = np.nan_to_num(np.asarray(picture, np.float32), posinf=255.0, neginf=0.0)  # nothing there is black
        top = 65535.0 if values.size and values.max() > 255 else 255.0
        picture = Image.fromarray(np.clip(values * (255.0 / top) + 0.5, 0, 255).astype(np.uint8))
    if channels != "rgba" and ("A" in picture.getbands() or "transparency" in picture.info):
        # What is see-through looks white to a person, and is often black in the file.
        see_through = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), see_through)
    return picture.convert({"gray": "L", "rgba": "RGBA"}.get(channels, "RGB"))


def _fitted(picture: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    height, width = size
    if min(height, width) < 1 or height * width > 10**8:
        raise InputError(f"a picture cannot be resized to {height}x{width}")
    if picture.size == (width, height):
        return picture
    # An enlarged picture (an 8×8 digit shown at 64×64) must come back exactly: whole factors average their boxes.
    whole = picture.width % width == 0 and picture.height % height == 0
    method = Image.Resampling.BOX if whole else Image.Resampling.BILINEAR
    if fit == "crop":
        return ImageOps.fit(picture, (width, height), method)
    if fit == "pad":
        return ImageOps.pad(picture, (width, height), method)
    return picture.resize((width, height), method)
