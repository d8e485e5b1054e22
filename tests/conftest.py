"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline per example measures the machine's other work, not the code.
settings.register_profile("prefbench", deadline=None)
settings.load_profile("prefbench")


# Marker -> variable that asks for such tests wherever they lie; `-m MARKER` asks too.
ON_REQUEST = {"slow": "PREFBENCH_SLOW", "upstream": "PREFBENCH_UPSTREAM", "weights": "PREFBENCH_WEIGHTS"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take minutes, or gigabytes of other people's packages, run when they are asked for."""
    for marker, variable in ON_REQUEST.items():
        if os.environ.get(variable) == "1" or marker in (config.option.markexpr or ""):
            continue
        skip = pytest.mark.skip(reason=f"{marker}: set {variable}=1 or select with -m {marker}")
        for item in items:
            if item.get_closest_marker(marker):
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


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test reads or writes the user's cache; only what takes gigabytes is kept there."""
    if not any(request.node.get_closest_marker(marker) for marker in ("upstream", "weights")):
        monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
