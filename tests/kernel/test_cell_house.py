"""Keeping house from a notebook: verify, stats, export and import, and what is said of the disk."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

CELL = """%%durable "my churn"
def load():
    print("loading")
    return np.arange(1_000_000.)
rows = ctx.run("load rows", load)
ctx.run("total", float, rows.sum())"""


@pytest.fixture
def kernel(start_this_kernel):
    kernel = start_this_kernel()
    kernel.run("%load_ext notebook_durable\nimport numpy as np")
    assert kernel.run(CELL).result == "499999500000.0"
    return kernel


def shown(ran):
    assert ran.status == "ok", ran.error
    return "\n".join(content["data"]["text/plain"] for content in ran.of("display_data")) + ran.stream()


def test_verify(kernel, tmp_path):
    """A good journal in figures; a damaged value by run and step; the step runs again, and nothing was changed."""
    assert "Nothing is damaged" in shown(kernel.run("%durable verify"))
    assert "2 entries checked, 8.0 MB of values" in shown(kernel.run("%durable verify"))
    (blob,) = (tmp_path / ".durable" / "blobs").iterdir()
    data = bytearray(blob.read_bytes())
    data[5000] ^= 1
    blob.write_bytes(data)
    told = shown(kernel.run("%durable verify"))
    assert "1 problem in" in told
    assert "my churn" in told
    assert "load rows" in told
    assert "1 step runs again" in told
    assert blob.read_bytes() == data
    kernel.kill()


def test_stats(kernel):
    """By run, and by step of a name with blanks."""
    told = shown(kernel.run("%durable stats"))
    assert "my churn" in told
    assert "On the disk:" in told
    assert "load rows" not in told
    assert "load rows" in shown(kernel.run("%durable stats my churn"))
    assert "there is no run 'your churn'" in kernel.run("%durable stats your churn").error


def test_to_another_machine(kernel, start_this_kernel, tmp_path):
    """A kernel with another journal and no key of ours: refused, asked, trusted, replayed."""
    assert "8.0 MB of values" in shown(kernel.run('%durable export my churn "the file.zip"'))
    assert "is there already" in kernel.run('%durable export my churn "the file.zip"').error
    other = start_this_kernel(NOTEBOOK_DURABLE_STORE="other", NOTEBOOK_DURABLE_KEY_FILE=str(tmp_path / "other.key"))
    other.run("%load_ext notebook_durable\nimport numpy as np")
    error = other.run('%durable import "the file.zip"').error
    assert "was exported with another key" in error
    assert "the file.zip' --trust" in error
    typed = next(line.strip().partition("   ")[0] for line in error.splitlines() if "--trust" in line)
    asked = other.run(typed)  # as the error says it
    assert "Type --yes" in asked.error
    assert any("numpy.ndarray" in content["data"]["text/plain"] for content in asked.of("display_data"))
    assert "No runs yet" in shown(other.run("%durable"))
    assert "'my churn': run 1, 2 entries" in shown(other.run('%durable import "the file.zip" --trust --yes'))
    ran = other.run(CELL)
    assert ran.result == "499999500000.0"
    assert "2 replayed" in ran.panels[-1]
    assert "--replace" in other.run('%durable import "the file.zip" --trust --yes').error
    assert "run 1 is archived" in shown(other.run('%durable import "the file.zip" --trust --yes --replace'))
    assert "'new name'" in shown(other.run('%durable import "the file.zip" --trust --yes --as new name'))


def test_a_large_journal_is_said_once(kernel):
    """On stderr, before the steps; %config sets from which size on."""
    kernel.run("%config Durable.warn_size = '1MB'")
    ran = kernel.run(CELL)
    assert "has grown to 8." in ran.stream("stderr")
    assert "%config Durable.warn_size" in ran.stream("stderr")
    assert ran.result == "499999500000.0"
    assert kernel.run(CELL).stream("stderr") == ""
    assert "must be a size such as" in kernel.run("%config Durable.warn_size = 'much'\n%%durable x\n1").stream("stderr")
