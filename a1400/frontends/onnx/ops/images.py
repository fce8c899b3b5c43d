"""Image files, decoded on the host."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from a1400.errors import InputError, UnsupportedOpError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import Runs, translates
from a1400.graph.graph import Value

#: the formats that ONNX names, as Pillow calls them; others are not even looked at
_FORMATS = ("BMP", "JPEG", "JPEG2000", "TIFF", "PNG", "WEBP", "PPM")
#: bytes of a file, and pixels of what it decodes to: a few bytes may claim any size
_MAX_BYTES, _MAX_PIXELS = 1 << 28, 1 << 27


@translates("ImageDecoder", since=20, runs=Runs("host", "it reads the formats of image files"))
def image_decoder(c: Ctx) -> Value:
    """uint8 [height, width, 3 or 1] of a file's bytes [n]; a file that does not decode is an :class:`InputError`."""
    stream = c[0]
    if stream.dtype != np.uint8 or stream.rank != 1:
        raise InputError(f"a file is bytes, uint8[n], not {stream}")
    wanted = c.text("pixel_format", "RGB")
    if wanted not in ("RGB", "BGR", "Grayscale"):
        raise c.unsupported(f"there is no pixel_format {wanted!r}")
    if stream.data is None:
        text = f"the image in {c.node.inputs[0]!r} is decoded on the host"
        stream = c.const(c.tracer.read(stream, (), text, _MAX_BYTES))
    assert stream.data is not None
    pixels = decoded(stream.data.tobytes(), "L" if wanted == "Grayscale" else "RGB")
    return c.const(np.ascontiguousarray(pixels[..., ::-1] if wanted == "BGR" else pixels))


def decoded(file: bytes, mode: str) -> np.ndarray:
    """uint8 [height, width, 3] of an image file for ``mode`` "RGB", [height, width, 1] for "L".

    Transparency is dropped, samples of 16 bits are scaled to 8.  Raises :class:`InputError` for what is no image of the
    formats that ONNX names, is damaged, or is larger than the limit.
    """
    from PIL import Image, UnidentifiedImageError

    if len(file) > _MAX_BYTES:
        raise InputError(f"an image file of {len(file)} bytes is refused; at most {_MAX_BYTES} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit is a warning, ours an error
            with Image.open(io.BytesIO(file), formats=_FORMATS) as image:
                width, height = image.size
                if width * height > _MAX_PIXELS:
                    raise InputError(f"an image of {height} x {width} pixels is refused; {_MAX_PIXELS} are the most")
                picture = _eight_bits(image) if image.mode[0] in "IF" else image
                pixels = np.asarray(picture if picture.mode == mode else picture.convert(mode), np.uint8)
    except Image.DecompressionBombError as error:  # far over Pillow's own limit, which it knows before we do
        raise InputError(f"the image is refused: {error}") from None
    except UnidentifiedImageError:
        raise InputError(f"{len(file)} bytes are no image of a known format ({', '.join(_FORMATS)})") from None
    except (InputError, UnsupportedOpError):
        raise
    except Exception as error:  # decoders raise whatever they like over a damaged file
        raise InputError(f"the image file is damaged: {type(error).__name__}: {str(error)[:200]}") from None
    return pixels.reshape(height, width, -1)


def _eight_bits(image: Any) -> Any:
    """A picture of 16-bit samples as one of 8 bits: 65535 becomes 255."""
    from PIL import Image

    if image.mode[0] == "F":
        raise InputError("the image's samples are floats; images of 8 or 16 bits are read")
    samples = np.asarray(image).astype(np.int64)
    return Image.fromarray(((np.clip(samples, 0, 65535) + 128) // 257).astype(np.uint8))
