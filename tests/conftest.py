"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline per example measures the machine's other work, not the code.
settings.register_profile("prefbench", deadline=None)
settings.load_profile("prefbench")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run when they are asked for: `-m slow`, or PREFBENCH_SLOW=1 for all."""
    if os.environ.get("PREFBENCH_SLOW") == "1" or "slow" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="slow: set PREFBENCH_SLOW=1 or select with -m slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder with real prompts, scores, images and heads; see CONTRIBUTING.md for its layout.

    Skips where PREFBENCH_REFERENCE_DATA is unset. Where it is set, a missing file fails the test that reads it.
    """
    folder = os.environ.get("PREFBENCH_REFERENCE_DATA")
    if not folder:
        pytest.skip("PREFBENCH_REFERENCE_DATA is unset: no reference data on this machine")
    path = Path(folder)
    assert path.is_dir(), f"PREFBENCH_REFERENCE_DATA={folder} is not a folder"
    return path
