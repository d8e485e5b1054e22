"""What must be in place before an original can be imported beside today's libraries. No installed file is changed.

Each of the three wheels imports, at the top, packages that it neither declares nor needs for scoring. They are given
empty modules of those names; what is used is the real thing.
"""

import gzip
import importlib
import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

__all__ = ["empty_module", "package_without_init", "with_torchvision_operators", "with_vocabulary"]

_operators: list[Any] = []


def empty_module(name: str, **members: Any) -> None:
    """A module that is imported and never used; a real one of that name is left alone."""
    module = types.ModuleType(name)
    module.__dict__.update(members)
    module.__spec__ = importlib.util.spec_from_loader(
        name, None
    )  # importlib.util.find_spec raises without one
    sys.modules.setdefault(name, module)


def package_without_init(name: str, folder: Path) -> types.ModuleType:
    """A package whose own __init__ does not run; its submodules are imported as usual."""
    spec = importlib.util.spec_from_loader(name, None, is_package=True)
    assert spec is not None
    spec.submodule_search_locations = [str(folder)]
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    module.__spec__ = spec
    sys.modules[name] = module
    return module


def with_torchvision_operators() -> None:
    """Import torchvision; where its build is for CUDA and torch's is not, declare the operators that it looks for.

    They are declared and not defined: nothing here calls them.
    """
    import torch

    while True:
        try:
            importlib.import_module("torchvision")
            return
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None or len(_operators) > 8:
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(missing[1] + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _operators.append(library)  # what is declared goes with its library


def with_vocabulary(module: str, vocabulary: Path) -> types.ModuleType:
    """Import a module that reads CLIP's vocabulary at import from a file that its wheel lacks."""
    plain = gzip.open

    def redirected(path: Any, *args: Any, **kwargs: Any) -> Any:
        absent = str(path).endswith(vocabulary.name) and not Path(path).exists()
        return plain(vocabulary if absent else path, *args, **kwargs)

    gzip.open = redirected  # type: ignore[assignment]
    try:
        return importlib.import_module(module)
    finally:
        gzip.open = plain
