"""What the live panel costs a tiny step: a %%durable cell in a real kernel, beside the same loop without observers.

    .venv/bin/python benchmarks/panel.py [--rounds 5] [--steps 5000]

Both journal the same steps in the same kernel, by turns. "CPU" is that of the whole process, so the thread that draws
counts. Nobody looks at the widget: its messages go out all the same.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from jupyter_client.manager import KernelManager

SETUP = """
%load_ext notebook_durable
import json, time
from notebook_durable import durable
def tiny(i): return {"i": i}
began = None
def mark():
    global began
    began = time.perf_counter(), time.process_time()
def took(n):
    return [(now - then) / n * 1e6 for now, then in zip((time.perf_counter(), time.process_time()), began)]
"""
PANEL = (
    "%%durable {name} --no-output\nmark()\nfor i in range({n}): ctx.run('tiny', tiny, i)\nprint(json.dumps(took({n})))"
)
KEPT = PANEL.replace(" --no-output", "")
BARE = (
    "with durable({name!r}, observers=[]) as ctx:\n    mark()\n    for i in range({n}): ctx.run('tiny', tiny, i)\n"
    "    print(json.dumps(took({n})))"
)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.rounds, options.steps)
    print(f"{options.steps} steps, us per step, medians of {options.rounds} rounds\n")
    print("| what | wall | CPU | more CPU than without | of a step's time |\n|---|---|---|---|---|")
    wall, cpu = (statistics.median(values) for values in zip(*found["bare"], strict=True))
    print(f"| without observers | {wall:.1f} | {cpu:.1f} | | |")
    for name, what in (("panel", "with the panel"), ("kept", "with panel and recorded outputs")):
        this, more = (statistics.median(values) for values in zip(*found[name], strict=True))
        print(f"| {what} | {this:.1f} | {more:.1f} | {more - cpu:.1f} | {(more - cpu) / wall:.1%} |")


def measure(folder: Path, rounds: int, steps: int) -> dict[str, list[tuple[float, float]]]:
    """Return wall and CPU microseconds per step, by what was measured."""
    import json

    manager = KernelManager(kernel_name="python3", transport="ipc")
    manager.ip = str(folder / "k")
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "panel": [], "kept": []}
    try:
        run(client, SETUP)
        for number in range(rounds + 1):
            for name, cell in (("bare", BARE), ("panel", PANEL), ("kept", KEPT)):
                said = run(client, cell.format(name=f"{name}{number}", n=steps))
                if number:  # the first round imports
                    found[name].append(tuple(json.loads(said.strip().splitlines()[-1])))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return found


def run(client: object, code: str) -> str:
    """Run a cell as JupyterLab does, and return what it printed."""
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = client.session.msg("execute_request", content)
    message["metadata"] = {"cellId": "bench"}
    client.shell_channel.send(message)
    said = ""
    while True:
        got = client.get_iopub_msg(timeout=120)
        if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
            continue
        if got["msg_type"] == "stream":
            said += got["content"]["text"]
        elif got["msg_type"] == "error":
            raise RuntimeError("\n".join(got["content"]["traceback"]))
        elif got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
            return said


if __name__ == "__main__":
    main()
