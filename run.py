"""The two commands of the README, for any Python 3.11 or newer that has venv and pip:

    python3 run.py demo     a notebook is killed in the middle and goes on, on real data
    python3 run.py test     the fast tests; what follows is passed on to pytest

Standard library only. The first call makes ``.venv`` beside this file and installs the project into it; later calls
find a stamp there and start at once. ``NBD_VENV=FOLDER`` puts the environment elsewhere.
"""

# ruff: noqa: S603, S606, T201  a script: it prints, and starts Python and pip

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

# Kept to what Python 3.6 can parse, so that an old Python gets the message and not a SyntaxError.
OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("NBD_VENV") or ROOT / ".venv").absolute()
#: Its presence says that this script made the environment, so it may be made anew.
LOCK = VENV / ".made-by-run.py"
COMMANDS = {
    "demo": ("demo", [str(ROOT / "notebooks" / "demo.py")]),
    "test": ("test", ["-m", "pytest"]),
}


def main(arguments):
    """Make the environment if needed, then become the command."""
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__.strip())
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    check_python()
    extra, command = COMMANDS[arguments[0]]
    environment(extra)
    python = str(VENV / "bin" / "python")
    if "-m" in command:
        os.chdir(str(ROOT))  # pytest looks for its settings from here
    sys.stdout.flush()
    # exec, not a child: Ctrl-C, exit code and terminal are the command's own.
    return os.execv(python, [python, *command, *arguments[1:]])


def check_python():
    """End with a clear message if this Python can't do it."""
    here = "%s (%s)" % (".".join(map(str, sys.version_info[:3])), sys.executable)  # noqa: UP031
    if sys.version_info < OLDEST:
        sys.exit(
            "notebook_durable needs Python 3.11 or newer; this is %s.\n"  # noqa: UP031
            "Run the same line with a newer one, such as python3.12 %s" % (here, " ".join(sys.argv))
        )
    if os.name != "posix":
        sys.exit("notebook_durable runs on Linux and macOS; this is " + sys.platform + ".")
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        sys.exit(
            "Python %s comes without venv, which makes the environment for this project.\n"  # noqa: UP031
            "On Debian and Ubuntu type: apt install python3-venv" % here
        )


def environment(extra):
    """Have an environment with the project and ``extra`` in it; nothing to do if the stamp says so."""
    import fcntl  # POSIX, which check_python has made sure of

    VENV.parent.mkdir(parents=True, exist_ok=True)
    theirs = VENV.exists() and any(VENV.iterdir()) and not LOCK.exists()
    if theirs and not usable():
        sys.exit(
            f"{VENV} was not made by run.py, and can't be used (no Python {OLDEST[0]}.{OLDEST[1]} or newer with pip in "
            "it).\nMove it away, or name another folder: NBD_VENV=.venv-mine python3 run.py ..."
        )
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock" if theirs else LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two calls at once: the second waits, and then finds it done
        stamp = VENV / f".stamp-{extra}.json"
        if read(stamp) == wanted() and usable():
            return
        began = time.monotonic()
        print(f"Installing into {short(VENV)} (once, a minute or two) ...", end=" ", flush=True)
        if not theirs and (read(VENV / ".stamp-venv.json") != wanted(project=False) or not usable()):
            create()
        install(extra)
        stamp.write_text(json.dumps(wanted()))
        print(f"done in {time.monotonic() - began:.0f} s.", flush=True)


def wanted(project=True):
    """Return what an environment must have been made from to be up to date."""
    facts = {"python": sys.version, "executable": os.path.realpath(sys.executable), "root": str(ROOT)}
    if project:
        # The version is not in pyproject.toml; the entry points and the dependencies are.
        facts["pyproject"] = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return facts


def read(path):
    """Return the facts in a stamp, None if there is none or it is damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def usable():
    """Tell whether the environment has a working Python that is new enough, with pip."""
    python = VENV / "bin" / "python"
    probe = f"import sys, importlib.util as u; sys.exit(sys.version_info < {OLDEST} or u.find_spec('pip') is None)"
    return python.exists() and subprocess.run([str(python), "-c", probe], capture_output=True).returncode == 0


def create():
    """Make the environment anew: after an update of Python, a move of the folder, or a call that was cut short."""
    for item in VENV.iterdir():
        if item != LOCK:
            shutil.rmtree(str(item)) if item.is_dir() and not item.is_symlink() else item.unlink()
    quietly([sys.executable, "-m", "venv", str(VENV)], "make the environment")
    (VENV / ".stamp-venv.json").write_text(json.dumps(wanted(project=False)))


def install(extra):
    """Install the project, editable, with one of its extras."""
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    quietly([*pip, "-e", f"{ROOT}[{extra}]"], "install the project")


def quietly(command, purpose):
    """Run a command; say nothing if it works, and everything that matters if not."""
    # PIP_USER=1 in somebody's settings makes pip refuse to install into an environment.
    settings = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
    done = subprocess.run(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        tail = "\n".join("    " + line for line in done.stdout.splitlines()[-25:])
        sys.exit(f"failed.\n{tail}\nCould not {purpose}; the command was:\n    {' '.join(command)}")


def short(path):
    """Return a path as seen from the working directory, if it is below it."""
    return os.path.relpath(str(path)) if Path.cwd() in path.parents else str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
