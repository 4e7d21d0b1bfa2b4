"""A browser and a JupyterLab for the tests of this folder; skipped, with the reason, where there is no browser to drive."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab import Lab
    from playwright.sync_api import Browser, Page

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium without a window."""
    from lab import chromium, playwright

    program = chromium()
    if program is None:
        pytest.skip("chromium is missing: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Lab]":
    """JupyterLab with the course; it starts only where there is a browser."""
    from lab import running

    with running(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def page(browser: "Browser", lab: "Lab") -> "Iterator[Page]":
    """A fresh window; the kernel that it started ends with it."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    yield context.new_page()
    context.close()
    lab.end_kernels()
