"""Real kernels for the kernel tests: this Python's, and an older ipykernel and IPython where there is one."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

import notebook_durable

ROOT = Path(notebook_durable.__file__).parent.parent
LONGEST = 60  # seconds until a kernel that doesn't answer is a failure
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def older_python() -> str | None:
    """The Python of an environment with ipykernel 6.31 and IPython 8.39."""
    given = os.environ.get("NBD_OTHER_PYTHON")
    return given if given and Path(given).exists() else None


KERNELS = [
    pytest.param(sys.executable, id="this"),
    pytest.param(
        older_python() or "",
        id="older",
        marks=pytest.mark.skipif(
            older_python() is None, reason="NBD_OTHER_PYTHON doesn't name a Python with ipykernel 6.31 (see .ci/run)"
        ),
    ),
]


@dataclass
class Ran:
    """What came of one cell, as a front end gets it."""

    reply: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.reply["status"])

    @property
    def error(self) -> str:
        """Name and text of the error in the reply, "" if there is none."""
        return f"{self.reply['ename']}: {self.reply['evalue']}" if self.status == "error" else ""

    @property
    def traceback(self) -> str:
        """The traceback of the reply, without colours."""
        return _ANSI.sub("", "\n".join(self.reply.get("traceback", [])))

    @property
    def shown_traceback(self) -> str:
        """The traceback that was displayed."""
        return "\n".join(_ANSI.sub("", "\n".join(content["traceback"])) for content in self.of("error"))

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [content for kind, content in self.messages if kind in kinds]

    def stream(self, name: str = "stdout") -> str:
        return "".join(content["text"] for content in self.of("stream") if content["name"] == name)

    @property
    def result(self) -> str | None:
        """The plain text of ``Out[n]``."""
        found = self.of("execute_result")
        return found[-1]["data"]["text/plain"] if found else None

    @property
    def panels(self) -> list[str]:
        """The successive states of the live output."""
        shown = self.of("display_data", "update_display_data")
        return [c["data"]["text/plain"] for c in shown if c["data"]["text/plain"].startswith("durable ")]


class LiveKernel:
    """One real kernel in a folder of its own, with no file of the user's in reach.

    Args:
        python: the Python that it runs with.
        folder: where it starts; HOME and Jupyter's folders are in there too.
        **env: added to its environment.
    """

    def __init__(self, python: str, folder: Path, **env: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        specs = KernelSpecManager(kernel_dirs=[str(write_kernelspec(python, folder))], ensure_native_kernel=False)
        self.manager = KernelManager(kernel_name="python3", kernel_spec_manager=specs, transport="ipc")
        self.manager.ip = str(folder / "k")
        self.manager.start_kernel(cwd=str(folder), env=environment(folder, **env))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LONGEST)
        self.count = 0

    def run(self, code: str, *, cell_id: str | None = None, stop_when: Callable[[Ran], bool] | None = None) -> Ran:
        """Run a cell to its reply.

        Args:
            code: the cell.
            cell_id: what JupyterLab sends as the cell's id.
            stop_when: press Stop as soon as what the cell has put out so far satisfies this.
        """
        content = {
            "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
            "stop_on_error": True,
        }  # fmt: skip
        message = self.client.session.msg("execute_request", content)
        message["metadata"] = {"cellId": cell_id} if cell_id else {}
        self.client.shell_channel.send(message)
        ran = Ran()
        for part in self._parts(message["header"]["msg_id"], ran):
            if stop_when is not None and stop_when(part):
                self.manager.interrupt_kernel()
                stop_when = None
        self.count += 1
        return ran

    def _parts(self, request: str, ran: Ran) -> Iterator[Ran]:
        while True:
            message = self.client.get_iopub_msg(timeout=LONGEST)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            ran.messages.append((message["msg_type"], message["content"]))
            yield ran
        while True:
            message = self.client.get_shell_msg(timeout=LONGEST)
            if message["parent_header"].get("msg_id") == request:
                ran.reply.update(message["content"])
                return

    def value(self, expression: str) -> str | None:
        """Evaluate an expression in a plain cell; its repr."""
        ran = self.run(expression)
        assert ran.status == "ok", ran.error
        return ran.result

    def ask(self, method: str, *args: Any) -> dict[str, Any]:
        """Call a method of the client (complete, inspect) and return the content of its reply."""
        return self._reply_to(getattr(self.client, method)(*args))

    def _reply_to(self, request: str) -> dict[str, Any]:
        while True:
            message = self.client.get_shell_msg(timeout=LONGEST)
            if message["parent_header"].get("msg_id") == request:
                content: dict[str, Any] = message["content"]
                return content

    def kill(self) -> None:
        """SIGKILL, as the system does when memory is out."""
        os.kill(self.manager.provisioner.pid, signal.SIGKILL)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process that finds this source tree, and nothing of the user's."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "JUPYTER_DATA_DIR": str(folder / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter-config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "JUPYTER_PATH": str(folder / "spec"),
        "IPYTHONDIR": str(folder / "ipython"),
        "TERM": "dumb",
        **more,
    }
    for name in list(env):
        if name.startswith("NOTEBOOK_DURABLE_") and name not in more:
            del env[name]
    if "JPY_SESSION_NAME" not in more:
        env.pop("JPY_SESSION_NAME", None)
    env.pop("PYTEST_CURRENT_TEST", None)  # ipykernel would leave the file descriptors 1 and 2 alone
    return env


def write_kernelspec(python: str, folder: Path) -> Path:
    """Write the kernelspec "python3" for a Python, and return the folder that kernelspecs are searched in."""
    place = folder / "spec" / "kernels"
    (place / "python3").mkdir(parents=True, exist_ok=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "python3", "language": "python"}
    (place / "python3" / "kernel.json").write_text(json.dumps(spec))
    return place
