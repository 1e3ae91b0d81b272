"""Numpy arrays, sparse matrices and torch tensors: shape, dtype, a few elements and what a sample of them says."""

from __future__ import annotations

import math
import sys
from typing import Any

from notebook_durable.previews.shorts import short
from notebook_durable.previews.show import Shown, is_a

__all__ = ["array_preview"]

_SAMPLE = 40_000  # elements
_SCATTERED = 20_000  # ... of memory that can't be gone through with one stride
_EDGE = 3
_SHOWN = 200  # elements; of more, only the edges
_TEXT = 1_500
_ELEMENT = 40


def array_preview(value: Any, shown: Shown) -> dict[str, Any] | None:
    """Return the preview of an array; None if the value is none."""
    if is_a(value, "numpy", "ndarray"):
        made = {**_base(value, shown), "text": shown.text(_text(value, shown), _TEXT)}
        stats = _stats(value)
        return {**made, "stats": stats} if stats else made
    if is_a(value, "scipy.sparse", "sparray", "spmatrix"):
        return {**_base(value, shown), "text": shown.text(f"{int(value.nnz):,} stored elements, {value.format}", _TEXT)}
    if is_a(value, "torch", "Tensor"):
        return {**_base(value, shown), "text": shown.text(_tensor_text(value), _TEXT)}
    return None


def _base(value: Any, shown: Shown) -> dict[str, Any]:
    shape = [int(one) for one in value.shape]
    return {"kind": "array", "shape": shape, "dtype": shown.text(str(value.dtype), 200)}


def _text(value: Any, shown: Shown) -> str:
    numpy = sys.modules["numpy"]
    if value.dtype.names:
        return ""  # of records in more than one dimension, with names that may be secrets'
    where = ""
    if value.ndim > 3:
        # Its edges in every dimension would be 6 ** ndim elements.
        where = f"[{', '.join('0' * (value.ndim - 2))}] is\n"
        value = value[(0,) * (value.ndim - 2)] if all(value.shape) else value.reshape(-1)[:0]
    if is_a(value, "numpy.ma", "MaskedArray"):
        with numpy.printoptions(threshold=_SHOWN, edgeitems=_EDGE, precision=4):
            return where + (str(value) if value.dtype.kind in "biufcmM" else "")

    def element(one: Any) -> str:
        if isinstance(one, bytes):
            one = one[: 2 * _TEXT].decode("latin-1")
        text = short(one, shown, _ELEMENT)
        return repr(text) if isinstance(one, str) else text

    # The user's own print options may ask for all elements; an element may have a repr of any length.
    formatter: Any = {"O": {"object": element}, "U": {"numpystr": element}, "S": {"numpystr": element}}
    text = numpy.array2string(
        value,
        threshold=_SHOWN,
        edgeitems=_EDGE,
        precision=4,
        max_line_width=100,
        separator=" ",
        formatter=formatter.get(value.dtype.kind),
    )
    return f"{where}{text}"


def _stats(value: Any) -> dict[str, Any] | None:
    if value.dtype.kind not in "biufmM" or not value.size or is_a(value, "numpy", "memmap"):
        return None  # of a file's array each element may be a page to read
    numpy = sys.modules["numpy"]
    sample = _sample(value)
    count = int(sample.size)
    if is_a(sample, "numpy.ma", "MaskedArray"):
        sample = sample.compressed()
    kind = value.dtype.kind
    missing = numpy.isnan(sample) if kind == "f" else numpy.isnat(sample) if kind in "mM" else None
    stats: dict[str, Any] = {"nan": 0 if missing is None else int(missing.sum())}
    present = sample if missing is None else sample[~missing]
    if present.size:
        stats = {"min": _number(present.min()), "max": _number(present.max()), **stats}
        if kind not in "mM":
            with numpy.errstate(all="ignore"):
                stats["mean"] = _number(present.mean(dtype="float64"))
    if count < value.size:
        stats["sample"] = count
    return stats


def _sample(value: Any) -> Any:
    """Return elements at even distances, one-dimensional. No copy of the whole is made."""
    # The last axis varies fastest if memory is in C's order; turned around if it is in Fortran's.
    turned = value.T if value.flags.f_contiguous else value
    if turned.flags.c_contiguous:
        return turned.reshape(-1)[:: _step(value, _SAMPLE)]
    step = _step(value, _SCATTERED)
    if is_a(value, "numpy.ma", "MaskedArray"):
        numpy = sys.modules["numpy"]
        mask = numpy.ma.getmaskarray(value)
        return numpy.ma.MaskedArray(value.data.flat[::step], mask=mask.flat[::step])
    return value.flat[::step]


def _step(value: Any, most: int) -> int:
    step = max(1, -(-int(value.size) // most))
    while step > 1 and any(math.gcd(step, int(one)) > 1 for one in value.shape):
        step += 1  # else it would meet the same columns only
    return step


def _number(value: Any) -> Any:
    found = value.item() if hasattr(value, "item") and value.dtype.kind not in "mM" else str(value)
    if isinstance(found, float):
        # What JSON has no number for. Six digits are enough to look at.
        return float(f"{found:.6g}") if math.isfinite(found) else str(found)
    return found if isinstance(found, (bool, int, str)) else str(found)


def _tensor_text(value: Any) -> str:
    # Torch shows the edges of large tensors only, unless the user's options ask for all.
    if value.numel() > _SHOWN:
        return f"{value.numel():,} elements on {value.device}"
    return repr(value.detach())
