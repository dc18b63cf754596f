"""What the tests of sites share: a project's sources, a browser, a web server."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT


def copied_project(folder: Path) -> Path:
    """The project's sources, pages and data in a new folder."""
    folder.mkdir()
    for name in (".ilhte-project", "_quarto.yml", "references.bib", *(path.name for path in PROJECT.glob("*.qmd"))):
        shutil.copy(PROJECT / name, folder)
    for name in ("site", "data", "notebooks"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("cache", "__pycache__"))
    return folder


def chromium() -> str:
    """Where Chromium is; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("there is no Chromium on the PATH")


@contextmanager
def chromium_running() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def on_a_server(folder: Path) -> Iterator[str]:
    """The address of a folder on a web server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
