"""How numpy's arrays are written down where numpy's own way loses something, or copies much."""

from __future__ import annotations

from typing import Any

from notebook_durable.serializers import restore
from notebook_durable.serializers.sink import LARGE

__all__ = ["array_rule"]


def array_rule(cls: type) -> Any:
    """Return the rule for a class of arrays, None if numpy's own way will do."""
    where = (cls.__module__, cls.__name__)
    if where == ("numpy", "ndarray"):
        return _reduce_array
    if where in (("numpy.ma", "MaskedArray"), ("numpy.ma.core", "MaskedArray")):
        return _reduce_masked
    return None


def _reduce_array(_rules: Any, array: Any) -> Any:
    flags = array.flags
    if flags.forc and array.dtype.kind in "mM" and array.nbytes >= LARGE:
        # Times have no buffer protocol, so numpy would copy them twice, and forget that they are read-only.
        return restore.times, (array.view("i8"), array.dtype)
    if flags.writeable:
        if flags.forc or array.dtype.hasobject:
            return NotImplemented
        # A view with gaps: numpy would write bytes, which are copied once more when they are read, and come back in
        # the byte order of the machine.
        return array.copy(order="C").__reduce_ex__(5)
    if flags.forc and not array.dtype.hasobject and array.dtype.kind not in "mM":
        return NotImplemented
    # numpy writes "read-only" down for arrays in one piece without Python objects only (their bytes become the array).
    return restore.read_only, (array.copy(order="K"),)


def _reduce_masked(_rules: Any, array: Any) -> Any:
    import numpy as np

    # numpy would write copies, a mask where there is none, and forget that the mask is hard.
    if array.baseclass is not np.ndarray or array.__dict__.get("_optinfo") or array.__dict__.get("_basedict"):
        return NotImplemented
    mask = None if array.mask is np.ma.nomask else np.asarray(array.mask)
    # `_fill_value`, because fill_value makes one up where there is none yet.
    return restore.masked, (np.asarray(array.data), mask, array._fill_value, array.hardmask)  # noqa: SLF001
