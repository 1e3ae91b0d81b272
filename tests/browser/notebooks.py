"""Writes the notebooks that the browser tests open, and reads what JupyterLab saved."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["LOAD", "NOTE", "read_outputs", "write_notebook"]

LOAD = "%load_ext notebook_durable"

#: A cell: what steps really did is noted in a file that outlives kernels. An hour's wait is one that only a click ends.
NOTE = """
import asyncio
from pathlib import Path
HOUR = 3600.0

def note(text):
    with Path("notes").open("a") as file:
        file.write(f"{text}\\n")
    return Path("notes").read_text().split("\\n").count(text)  # how often so far

def fetch(city="Oslo"):
    if note(f"fetch {city}") == 1:
        raise ConnectionError("weather service: 503 Service Unavailable")
    return {"city": city, "degrees": -4}
"""


def write_notebook(path: Path, cells: Sequence[str], kernel: str = "python3") -> None:
    """Write a notebook of code cells; each is dedented, so that tests can write them where they use them."""
    book = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": kernel, "display_name": kernel, "language": "python"},
            "language_info": {"name": "python"},
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": textwrap.dedent(source).strip("\n"),
            }
            for number, source in enumerate(cells)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book, indent=1))


def read_outputs(path: Path, cell: int) -> list[dict[str, Any]]:
    """Return the outputs of a cell as they are in the file."""
    outputs: list[dict[str, Any]] = json.loads(path.read_text())["cells"][cell]["outputs"]
    return outputs
