"""The page of ``minirpn explain``, as Chromium shows it.

This figure needs Chromium with its driver, and the extra ``browser``.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import minirpn
from docs.figures.front import MODEL, OBJECTS
from docs.figures.png import save_few_colours
from docs.figures.tools import ToolMissingError
from minirpn import samples
from minirpn.data.annotation import VOCObject, write_annotation
from minirpn.explain import find_picture, open_step, write_page
from minirpn.rpn import POSITIVE

_PHOTO, _CLASS = "astronaut", "person"
_WINDOW = (1080, 890)


def draw(folder: Path, quick: bool) -> None:
    """Write the page of a photograph, select a positive anchor, and keep what Chromium shows."""
    driver = _start_browser()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            page, anchor = _write_page(Path(scratch))
            content = _picture_of(driver, page, anchor)
    finally:
        driver.quit()
    with Image.open(io.BytesIO(content)) as image:
        save_few_colours(image, folder / "images/explain.png")


def _start_browser() -> Any:
    """Return a headless Chromium.

    Raises
    ------
    ToolMissingError
        Selenium, Chromium or its driver is not installed.
    """
    try:
        from selenium import webdriver
    except ImportError:
        raise ToolMissingError('selenium is missing: pip install -e ".[browser]"') from None
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    for name, path in programs.items():
        if path is None:
            raise ToolMissingError(f"{name} is missing: install it with your system")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    # A driver that is named is not looked for, and so nothing is downloaded.
    return webdriver.Chrome(options, webdriver.ChromeService(programs["chromedriver"]))


def _write_page(folder: Path) -> tuple[Path, int]:
    """Return the page of a photograph and its annotation, and a positive anchor."""
    photo = Path(shutil.copy(samples.photos()[_PHOTO], folder))
    with Image.open(photo) as image:
        size = image.height, image.width
    x1, y1, x2, y2 = OBJECTS[_PHOTO]
    person = VOCObject(_CLASS, (x1 + 1, y1 + 1, x2, y2))  # VOC counts from 1, inclusive
    write_annotation(photo.with_suffix(".xml"), photo.name, size, [person])
    model = minirpn.load(MODEL)
    step = open_step(model.rpn, model.config, find_picture(str(photo), None, model.config.data))
    positive = np.flatnonzero(step.learning.labels == POSITIVE)
    return write_page(step, folder / "page.html"), int(positive[len(positive) // 2])


def _picture_of(driver: Any, page: Path, anchor: int) -> bytes:
    """Return a PNG of the page with an anchor selected, from the picture down."""
    width, height = _WINDOW
    sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    driver.get(page.as_uri())
    number = driver.find_element("css selector", "#number")
    number.clear()
    number.send_keys(str(anchor))
    driver.find_element("css selector", "#go button").click()
    driver.execute_script("document.querySelector('.desk').scrollIntoView()")
    # Two frames later, what the change has set going is drawn.
    driver.execute_async_script(
        "const [done] = arguments; requestAnimationFrame(() => requestAnimationFrame(done))"
    )
    return driver.get_screenshot_as_png()
