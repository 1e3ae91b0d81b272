"""The mission: a durable cell in a real kernel that is killed with SIGKILL before, inside and after each step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

import notebook_durable

pytestmark = pytest.mark.kernel

ROOT = Path(notebook_durable.__file__).parent.parent

SETUP = """
%load_ext notebook_durable
import os, time
class Order:
    def __init__(self, name): self.name = name
def at(point):
    if os.environ.get("NBD_POINT") == point:
        open("reached", "w").close()
        time.sleep(600)
def step(name):
    with open("calls.txt", "a") as log:
        log.write(name + "\\n")
    at(f"inside {name}")
    return [Order(name)]
"""
CELL = """
%%durable churn
done = []
for name in "ab":
    at(f"before {name}")
    done += ctx.run(name, step, name)
    at(f"after {name}")
[type(order) is Order for order in done], [order.name for order in done]
"""


class Kernel:
    """One real ipykernel in a folder of its own."""

    def __init__(self, folder: Path, point: str = "") -> None:
        env = {
            **os.environ, "PYTHONPATH": str(ROOT), "NBD_POINT": point, "JUPYTER_DATA_DIR": str(folder / "jupyter"),
            "IPYTHONDIR": str(folder / "ipython"),
        }  # fmt: skip
        for name in ("NOTEBOOK_DURABLE_STORE", "NOTEBOOK_DURABLE_KEY_FILE", "JPY_SESSION_NAME"):
            env.pop(name, None)
        self.manager = KernelManager(kernel_name="python3", transport="ipc")
        self.manager.ip = str(folder / "k")
        self.manager.start_kernel(cwd=str(folder), env=env)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> tuple[dict[str, Any], list[str]]:
        outputs: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] in ("execute_result", "display_data", "update_display_data"):
                outputs.append(content["data"]["text/plain"])

        reply = self.client.execute_interactive(code, timeout=60, output_hook=hook, allow_stdin=False)
        return reply["content"], outputs

    def kill(self) -> None:
        os.kill(self.manager.provisioner.pid, signal.SIGKILL)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    kernels: list[Kernel] = []

    def start(point: str = "") -> Kernel:
        kernels.append(Kernel(tmp_path, point))
        return kernels[-1]

    yield start
    for one in kernels:
        one.close()


def die_at(start: Any, folder: Path, point: str) -> None:
    """Run the cell in a kernel that reaches a point, and kill it there."""
    kernel = start(point)
    assert kernel.run(SETUP)[0]["status"] == "ok"
    kernel.client.execute(CELL)
    deadline = time.monotonic() + 60
    while not (folder / "reached").exists():
        assert time.monotonic() < deadline, "the kernel never got there"
        time.sleep(0.02)  # polls another process; nothing is timed
    kernel.kill()
    (folder / "reached").unlink()


@pytest.mark.parametrize("point", ["before a", "inside a", "after a", "before b", "inside b", "after b"])
def test_sigkill_at_every_point_of_a_cell(kernel, tmp_path, point):
    """The new kernel replays what was finished, goes on, and the classes of the notebook are the notebook's."""
    die_at(kernel, tmp_path, point)
    again = kernel()
    again.run(SETUP)
    reply, outputs = again.run(CELL)
    assert reply["status"] == "ok"
    assert "([True, True], ['a', 'b'])" in outputs
    where, name = point.split()
    calls = (tmp_path / "calls.txt").read_text().split()
    assert sorted(calls) == sorted(["a", "b", *([name] if where == "inside" else [])])
    unknown = any("outcome unknown: running again" in text for text in outputs)
    assert unknown is (where == "inside")


def test_what_is_not_defined_yet_is_named(kernel, tmp_path):
    """Out of order after a restart: an error that names what to define, nothing is called and nothing is lost."""
    die_at(kernel, tmp_path, "before b")
    again = kernel()
    again.run(SETUP + "\ndel Order")
    reply, _ = again.run(CELL)
    assert reply["ename"] == "UndefinedNameError"
    assert "step 'a' reads 'Order', which is not defined in this kernel" in reply["evalue"]
    again.run(SETUP)
    reply, outputs = again.run(CELL)
    assert "([True, True], ['a', 'b'])" in outputs
    assert (tmp_path / "calls.txt").read_text().split() == ["a", "b"]
