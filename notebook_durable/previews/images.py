"""Pictures: figures, images, and objects that show themselves as PNG. Small, and the original stays as it is."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from typing import Any

from notebook_durable.previews.show import is_a

__all__ = ["image_preview"]

_WIDEST = 640  # pixels
_HIGHEST = 960
_LARGEST = 220_000  # bytes of PNG: a third more in base64 stays below 300 kB
_FINEST = 100.0  # dots per inch
_FAR_TOO_MANY = 4_000_000  # pixels: these are thinned out before they are scaled
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def image_preview(value: Any) -> dict[str, Any] | None:
    """Return a picture of a value; None if it has none, or none that is small enough."""
    if is_a(value, "PIL.Image", "Image"):
        return _picture(_of_image(value))
    figure = _figure_of(value)
    if figure is not None:
        return _picture(_of_figure(figure))
    # Of the class, because objects that answer to any name are many.
    show = getattr(type(value), "_repr_png_", None)
    return None if show is None else _picture(_of_method(show(value)))


def _figure_of(value: Any) -> Any:
    if is_a(value, "matplotlib.figure", "Figure"):
        return value
    if is_a(value, "matplotlib.axes", "Axes") or is_a(value, "matplotlib.figure", "SubFigure"):
        return value.figure.figure  # of a figure inside a figure: the outer one
    return value.figure if is_a(value, "seaborn.axisgrid", "Grid") else None


def _of_figure(figure: Any) -> bytes:
    width, height = (max(float(one), 0.01) for one in figure.get_size_inches())
    dpi = min(_FINEST, _WIDEST / width, _HIGHEST / height)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing glyph is told when the figure is shown
        png = _drawn(figure, dpi)
        wide, _ = _size(png)
        if wide > _WIDEST:  # with savefig.bbox = "tight" and something far outside
            dpi *= _WIDEST / (wide + 1)
            png = _drawn(figure, dpi)
        while len(png) > _LARGEST and dpi > 20:
            dpi *= 0.9 * (_LARGEST / len(png)) ** 0.5
            png = _drawn(figure, dpi)
    return png


def _drawn(figure: Any, dpi: float) -> bytes:
    buffer = io.BytesIO()
    # savefig draws on a canvas of its own and puts the figure's size, dpi and canvas back; pyplot isn't asked.
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _of_image(image: Any) -> bytes:
    width, height = image.size
    if getattr(image, "tile", None) or not width or not height:
        return b""  # not read from its file yet: to look at it would read it
    scale = min(1.0, _WIDEST / width, _HIGHEST / height)
    while True:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = image
        if width * height > _FAR_TOO_MANY:
            small = small.resize((min(width, 2 * size[0]), min(height, 2 * size[1])), 0)  # touches these pixels only
        if small.size != size:
            # Palettes can't be mixed, and not every Pillow scales 16 bits.
            mixed = {"P": "RGBA", "PA": "RGBA", "I;16": "I"}.get(small.mode)
            small = (small.convert(mixed) if mixed else small).resize(size, 4)
        if small.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            small = small.convert("L" if small.mode[0] in "IF" else "RGB")
        buffer = io.BytesIO()
        small.save(buffer, format="PNG", compress_level=6)
        if buffer.tell() <= _LARGEST or max(size) <= 16:
            return buffer.getvalue()
        scale *= 0.95 * (_LARGEST / buffer.tell()) ** 0.5


def _of_method(found: Any) -> bytes:
    if isinstance(found, tuple) and found:
        found = found[0]  # data and metadata
    if isinstance(found, str):
        found = base64.b64decode(found)
    return bytes(found) if isinstance(found, (bytes, bytearray)) else b""


def _size(png: bytes) -> tuple[int, int]:
    if len(png) < 24 or not png.startswith(_SIGNATURE):
        return 0, 0
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def _picture(png: bytes) -> dict[str, Any] | None:
    width, height = _size(png)
    if not width or not height or len(png) > _LARGEST:
        return None
    return {"kind": "image", "png": base64.b64encode(png).decode("ascii"), "width": width, "height": height}
