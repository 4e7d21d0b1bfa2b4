"""A plugin for nbval's pytest: writes what it said of each cell, and the outputs that the cell made, to said.json.

pytest --nbval -p nbval_said notebooks
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

said: list[tuple[str, Any]] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if call.when == "call" or report.failed:
        said.append((report.outcome, item.test_outputs or []))
    return report


def pytest_sessionfinish() -> None:
    Path("said.json").write_text(json.dumps(said), encoding="utf-8")
