"""Takes the README's picture of Figure 1 from the rendered site with a headless Chromium: run it after `make site`."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

PROJECT = Path(__file__).resolve().parents[1]

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
    )
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto((PROJECT / "_site" / "index.html").as_uri())
    figure = page.locator("#fig-items .ilhte-figure")
    figure.locator(".main-svg").first.wait_for()
    figure.screenshot(path=PROJECT / "docs" / "figure-1.png")
    browser.close()
