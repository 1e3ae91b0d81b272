"""Buffers are laid flat without holding on to the views they come from."""

from __future__ import annotations

import array
import subprocess
import sys

import pytest

from notebook_durable.stores.layout import flat

CYCLE = """
import gc
from notebook_durable.stores.layout import flat
gc.disable()
view = memoryview(bytes(1000))
cycle = [view, flat(view)]
cycle.append(cycle)
del view, cycle
print(gc.collect() > 0)
"""


SHAPED = memoryview(bytes(range(6))).cast("B", (2, 3))


@pytest.mark.parametrize("buffer", [b"abc", bytearray(b"abc"), b"", array.array("d", [1, 2]), SHAPED])
def test_a_view_can_be_released_after_it_was_laid_flat(buffer):
    """Nothing holds on to it, and the bytes are the same."""
    view = memoryview(buffer)
    whole = bytes(view)
    plain = flat(view)
    view.release()
    assert bytes(plain) == whole
    assert (plain.ndim, plain.itemsize) == (1, 1)


def test_an_array_in_fortran_order_is_laid_flat_as_it_lies():
    """Its bytes in memory, without a copy; with gaps there is no such thing."""
    np = pytest.importorskip("numpy")
    made = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert bytes(flat(made)) == made.tobytes("F")
    with pytest.raises(BufferError):
        flat(np.arange(10)[::2])


@pytest.mark.kernel
def test_a_view_in_a_garbage_cycle_doesn_t_kill_the_process():
    """CPython 3.11 and 3.12 crash on a view that is held on to when both are collected."""
    done = subprocess.run([sys.executable, "-c", CYCLE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
