"""Headless Chromium, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No network: a page has what it needs.
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def found(*names: str) -> str:
    """Return the path of the first program there is, or skip."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no {names[0]} is installed here: pages are not clicked through")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Chromium with a profile of its own; ends it when the tests are done."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed here")
    options = webdriver.ChromeOptions()
    options.binary_location = found("chromium", "chromium-browser", "google-chrome")
    # A driver that is named is not looked for, and so nothing is downloaded.
    service = webdriver.ChromeService(found("chromedriver"))
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def resize(browser: Any, width: int, height: int = 900) -> None:
    """Give the window a size; below 600 pixels it is a phone."""
    sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)


@pytest.fixture
def show(browser: Any) -> Iterator[Any]:
    """Open a file in a window of some size; at the end nothing must have gone wrong in it."""

    def open_page(
        path: Path, width: int = 1280, height: int = 900, dark: bool = False, ending: str = ""
    ) -> Any:
        resize(browser, width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        browser.get("about:blank")
        browser.get(path.as_uri() + ending)
        return browser

    yield open_page
    # What a theme tells of itself is nothing that went wrong.
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
