"""A real browser for the tests of this folder, and the reports that it opens."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _module(name: str, path: Path) -> ModuleType:
    """A module beside the tests; importlib mode puts no test folder on the path."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium. Without a binary: skip, or fail where PREFBENCH_REQUIRE_BROWSER=1."""
    binary = next((path for path in map(shutil.which, BINARIES) if path), None)
    if binary is None:
        reason = f"no browser on the path (looked for {', '.join(BINARIES)})"
        if os.environ.get("PREFBENCH_REQUIRE_BROWSER") == "1":
            pytest.fail(f"PREFBENCH_REQUIRE_BROWSER=1, and {reason}")
        pytest.skip(reason)
    devtools = _module("report_devtools", Path(__file__).with_name("devtools.py"))
    started = devtools.Browser(binary, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def runs() -> ModuleType:
    """The builders of the report tests."""
    return _module("report_runs", Path(__file__).parents[1] / "reports" / "conftest.py")


@pytest.fixture(scope="session")
def run(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three checkpoints, 60 prompts with pictures; prompt 7 is hostile."""
    prompts = [f"prompt number {index}" for index in range(60)]
    prompts[7] = "<img src=x onerror=alert(1)></script> 🐉 قطة"
    return runs.make_example(tmp_path_factory.mktemp("pictures"), prompts=prompts)


@pytest.fixture(scope="session")
def report(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of `run`."""
    from prefbench.reports.html import write_report

    return write_report(
        run.results, run.scores, tmp_path_factory.mktemp("report") / "report.html", run.images
    )
