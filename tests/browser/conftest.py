"""One JupyterLab and one browser for all tests in here; a page, a folder and a notebook for each.

What is missing on this machine makes them skip and say why; with ``NBD_BROWSER=required`` (CI) it makes them fail.
Of a test that fails, a picture of the page, its console and the end of the server's log are kept and printed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from browser.lab_server import LabServer, Unavailable

if TYPE_CHECKING:
    from browser.lab_page import LabPage
    from playwright.sync_api import Browser

_FAILED = pytest.StashKey[bool]()
_NEEDED = ("playwright", "jupyterlab", "anywidget", "matplotlib", "nbconvert")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# As root, without a screen, and quiet: it must not look for Google's hosts.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


def _missing(why: str) -> NoReturn:
    if os.environ.get("NBD_BROWSER") == "required":
        pytest.fail(f"NBD_BROWSER=required, but {why}", pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if absent:
        _missing(f"these packages are missing: {', '.join(absent)} (pip install -e '.[browser]')")
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        _missing("there is no Chromium (apt-get install chromium)")
    from playwright.sync_api import Error, expect, sync_playwright

    expect.set_options(timeout=15_000)  # milliseconds; a machine of CI may have much else to do
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        except Error as error:
            _missing(f"{path} doesn't start: {error.message}")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    server = LabServer(tmp_path_factory.mktemp("jupyterlab"))
    try:
        server.start()
    except Unavailable as error:
        _missing(str(error))
    yield server
    server.stop()


@pytest.fixture
def open_page(request: pytest.FixtureRequest, browser: Browser, server: LabServer) -> Iterator[Callable[..., LabPage]]:
    """Makes pages; takes what a browser window has: ``width``, ``height``, ``scale``."""
    from browser.lab_page import LabPage

    where, what = (name.removeprefix("test_") for name in (request.node.path.stem, request.node.name))
    name = re.sub(r"\W+", "-", f"{where}-{what}").strip("-")
    pages: list[LabPage] = []

    def make(*, width: int = 1280, height: int = 1100, scale: float = 1.0) -> LabPage:
        context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
        pages.append(LabPage(context.new_page(), server, server.root / name, name))
        return pages[-1]

    yield make
    problems = [problem for page in pages for problem in page.problems]
    failed = request.node.stash.get(_FAILED, True)
    if failed or problems:
        for page in pages:
            _keep(page)
    for page in pages:
        page.page.context.close()
    server.end_kernels()
    if problems and not failed:
        pytest.fail("the page reported errors:\n" + "\n".join(problems), pytrace=False)


def _keep(page: LabPage) -> None:
    """Keep what tells why a test failed."""
    from browser.lab_page import SCREENSHOTS
    from playwright.sync_api import Error

    folder = SCREENSHOTS / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        page.page.screenshot(path=folder / f"{page.name}.png")
    except Error as error:
        print(f"no picture: {error.message}")
    console, log = "\n".join(page.console), page.server.log_tail()
    (folder / f"{page.name}.txt").write_text(f"{page.page.url}\n\n-- console\n{console}\n\n-- server\n{log}\n")
    print(f"-- picture: {folder / page.name}.png\n-- console\n{console[-4000:]}\n-- server\n{log[-4000:]}")


@pytest.fixture
def lab(open_page: Callable[..., LabPage]) -> LabPage:
    """A page of the usual size, at which nothing was opened yet."""
    return open_page()
