"""JupyterLab as a student has it: started on a course of its own, and driven through Playwright.

Selectors are those of JupyterLab 4 and ipywidgets 8. Nothing is waited for by the clock: always for what a reader would see.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install 'minirag[browser]'")
expect = playwright.expect

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("data", "results")  # what notebooks reach for next to their folder
START = 120  # seconds that JupyterLab may take, on a machine that does other things, too
RUN = 900_000  # milliseconds that all cells of a notebook may take
SEEN = 60_000  # milliseconds until a widget shows what was asked for

CODE = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell"
ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'
PICTURES = """shown => [...shown.querySelectorAll('svg, img'), ...shown.querySelectorAll('[style*=background]')]
    .map(each => each.src || (each.tagName == 'svg' ? each.outerHTML : each.getAttribute('style'))).join('\\n')"""
SETTINGS = {
    # every cell stays in the page, also those that are out of sight
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    # no news, and no looking for newer versions: nothing goes to the network
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it answers, what opens it, and the folder of its notebooks."""

    url: str
    token: str
    notebooks: Path

    def ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"{self.url}/{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def end_kernels(self) -> None:
        for session in self.ask("GET", "api/sessions"):
            self.ask("DELETE", f"api/sessions/{session['id']}")


def course(folder: Path) -> Path:
    """A copy of the notebooks without outputs, so that whatever is seen has been made here; and what lies beside them."""
    notebooks = folder / "notebooks"
    notebooks.mkdir(parents=True)
    for name in BESIDE:
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "notebooks" / "exercises", notebooks / "exercises")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, notebooks / path.name)
    return notebooks


@contextmanager
def running(folder: Path) -> Iterator[Lab]:
    """JupyterLab on loopback, any free port, with a token; all that it writes goes below `folder`."""
    notebooks, home, token = course(folder / "course"), folder / "home", secrets.token_hex(16)
    for name, value in SETTINGS.items():
        path = home / "config" / "lab" / "user-settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
    folders = (
        ("JUPYTER_CONFIG_DIR", "config"),
        ("JUPYTER_DATA_DIR", "data"),
        ("JUPYTER_RUNTIME_DIR", "run"),
        ("IPYTHONDIR", "ipython"),
    )
    own = {name: str(home / part) for name, part in folders} | {"HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={notebooks.parent}", "--ServerApp.allow_root=True"]
    command += ["--LabApp.extension_manager=readonly"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    server = subprocess.Popen(command, cwd=home, env=os.environ | own, text=True, **pipes)
    try:
        yield Lab(_address(server, folder / "lab.log"), token, notebooks)
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()


def _address(server: subprocess.Popen[str], log: Path) -> str:
    """Where the server says that it answers; the rest of what it says goes to a file, so that it is never held up."""
    assert server.stderr is not None
    patience = threading.Timer(START, server.kill)
    patience.start()
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=", line):
            patience.cancel()
            threading.Thread(target=_keep, args=(server.stderr, log, said), daemon=True).start()
            return found[1]
    raise AssertionError("JupyterLab did not start:\n" + "".join(said))


def _keep(lines: Any, log: Path, said: list[str]) -> None:
    with lines, log.open("w", encoding="utf-8") as file:
        for line in [*said, *lines]:
            file.write(line)
            file.flush()


def open_notebook(page: "Page", lab: Lab, name: str) -> None:
    """Open a notebook, and wait until its cells are there and a kernel listens."""
    page.goto(f"{lab.url}/lab/tree/notebooks/{name}?token={lab.token}")
    expect(page.locator(CODE)).to_have_count(code_cells(lab, name), timeout=SEEN)
    expect(page.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=SEEN)


def code_cells(lab: Lab, name: str) -> int:
    return sum(cell.cell_type == "code" for cell in nbformat.read(lab.notebooks / name, as_version=4).cells)


def run_all(page: "Page") -> None:
    """Run → Run All Cells, and wait until each has its number or one has failed."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(
        """([cells, error]) => document.querySelector(error) || [...document.querySelectorAll(cells)]
            .every(cell => /^\\[\\d+\\]:$/.test(cell.querySelector('.jp-InputArea-prompt').textContent.trim()))""",
        arg=[CODE, ERROR],
        timeout=RUN,
    )


def troubles(page: "Page") -> list[str]:
    """What no reader should see anywhere in the notebook: errors, and what was written to stderr."""
    return [text.strip() for text in page.locator(f"{ERROR}, {STDERR}").all_inner_texts()]


def widget(page: "Page", control: str) -> "Locator":
    """The output of the first cell that has a control with this label."""
    label = page.locator(".widget-label", has_text=control)
    return page.locator(f"{CODE} .jp-Cell-outputWrapper").filter(has=label).first


def slide(output: "Locator", control: str, steps: int) -> None:
    """Move a slider with the keyboard: to the right, or to the left for steps below 0."""
    handle = output.locator(".widget-slider").filter(has_text=control).locator(".noUi-handle")
    handle.focus()
    for _ in range(abs(steps)):
        handle.press("ArrowRight" if steps > 0 else "ArrowLeft")


@dataclass(frozen=True)
class Shown:
    """What a widget shows under its controls: its text; and its pictures, bars and colours."""

    text: str
    pictures: str


def shown(output: "Locator") -> Shown:
    """The widget's last page of HTML."""
    page = output.locator(".widget-html").last
    return Shown(page.inner_text(), page.evaluate(PICTURES))


def changed(output: "Locator", before: Shown, picture: bool = True) -> Shown:
    """Wait until the text is another one; the picture, too, must have changed with it, if it depends on what was moved."""
    expect(output.locator(".widget-html").last).not_to_have_text(before.text, use_inner_text=True, timeout=SEEN)
    after = shown(output)
    assert after.pictures != before.pictures or not picture, "the text has changed, and the picture has not"
    return after


def keep(what: "Page | Locator", name: str) -> None:
    """A screenshot among the artefacts, in runs/browser/."""
    folder = ROOT / "runs" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    what.screenshot(path=folder / f"{name}.png")


def chromium() -> str | None:
    """Debian's Chromium, or another build of it under one of its usual names."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
