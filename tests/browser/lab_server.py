"""One real JupyterLab in a folder of its own, with no file of the user's in reach, and kernels of this Python."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels import environment, older_python

__all__ = ["LabServer", "Unavailable", "shell_environment"]

_STARTS_WITHIN = 60.0  # seconds

_CONFIG = """
from jupyter_client.kernelspec import KernelSpecManager

class ThisPython(KernelSpecManager):
    # No other folder is searched: "python3" is this Python and no kernelspec that somebody installed under that name.
    def _kernel_dirs_default(self):
        return [{kernels!r}]

c.ServerApp.kernel_spec_manager_class = ThisPython
c.ServerApp.open_browser = False
c.ServerApp.root_dir = {root!r}
c.ServerApp.allow_root = True
c.ServerApp.port_retries = 0
c.LabApp.extension_manager = "readonly"
c.LabApp.expose_app_in_browser = True
# A kernel that a test stopped has nothing to say any more.
c.KernelManager.shutdown_wait_time = 1.0
"""


class Unavailable(Exception):
    """What these tests need is not on this machine; the message says what, and how to get it."""


def shell_environment(home: Path) -> dict[str, str]:
    """The environment of the server, of its kernels, and of a shell beside them: one home, one key."""
    ours = {"JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_PATH"}
    env = {
        name: value
        for name, value in environment(home).items()
        if name in ours or not name.startswith(("JUPYTER", "JPY_"))  # of a Jupyter that runs these tests
    }
    env["NOTEBOOK_DURABLE_KEY_FILE"] = str(home / "durable.key")
    env["MPLCONFIGDIR"] = str(home / "matplotlib")
    env.pop("MPLBACKEND", None)
    return env


@dataclass
class LabServer:
    """A running JupyterLab.

    Attributes:
        home: HOME, Jupyter's folders, the key and the log are in there.
        root: what its file browser shows; each test has a folder in it.
    """

    home: Path
    root: Path = field(init=False)
    url: str = field(init=False, default="")
    token: str = field(init=False, default_factory=lambda: secrets.token_hex(16))
    log: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.root = self.home / "notebooks"
        self.log = self.home / "server.log"
        self.root.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            Unavailable: if JupyterLab is not installed, or doesn't start.
        """
        self._write_settings()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-m", "jupyterlab", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1"]
        env = shell_environment(self.home)
        env["JUPYTER_TOKEN"] = self.token
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                argv, cwd=self.root, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._wait_until_up()

    def _write_settings(self) -> None:
        config = self.home / "jupyter-config"
        (config / "labconfig").mkdir(parents=True, exist_ok=True)
        kernels = self.home / "kernels"
        older = older_python()
        if older is not None:
            argv = [older, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            spec = {"argv": argv, "display_name": "older", "language": "python"}
            (kernels / "older").mkdir(parents=True)
            (kernels / "older" / "kernel.json").write_text(json.dumps(spec))
        settings = _CONFIG.format(root=str(self.root), kernels=str(kernels))
        (config / "jupyter_server_config.py").write_text(settings)
        # It asks a server on the internet for news, and the user for leave to do so.
        off = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
        (config / "labconfig" / "page_config.json").write_text(json.dumps(off))

    def _wait_until_up(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _STARTS_WITHIN
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise Unavailable(f"JupyterLab ended at once (pip install jupyterlab):\n{self.log_tail()}")
            try:
                self.ask("GET", "api/status")
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
            else:
                return
        raise Unavailable(f"JupyterLab doesn't answer after {_STARTS_WITHIN:.0f} s:\n{self.log_tail()}")

    def ask(self, method: str, path: str) -> Any:
        """Call its REST interface."""
        request = urllib.request.Request(f"{self.url}/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def end_kernels(self) -> None:
        """End every kernel: the next test shall have the machine for itself.

        One that is about to end by itself makes the server answer 404 or 500, so that is asked again.
        """
        for left in reversed(range(5)):
            try:
                for kind in ("sessions", "kernels"):
                    for one in self.ask("GET", f"api/{kind}"):
                        self.ask("DELETE", f"api/{kind}/{one['id']}")
                return
            except urllib.error.HTTPError:
                if not left:
                    raise

    def log_tail(self, lines: int = 60) -> str:
        """Return the last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.replace(self.token, "<token>").splitlines()[-lines:])

    def stop(self) -> None:
        """End it, and with it the kernels that it started."""
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=15)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
