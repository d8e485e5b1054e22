"""Who holds networks between two uses: nobody, or a `Networks`, where a GPU has room for them.

A run uses each of its networks once and lets it go. A sequential gate comes back to every pipeline and every scorer after
each block of prompts. On a CPU drawing takes so long that loading anew hardly counts (docs/gate.md has the measurement),
and memory is what is scarce: nothing is kept. On a GPU drawing is fast, and a network stays as long as half of the GPU's
memory is free beside it; that half is for what drawing needs and for the next network.
"""

from collections.abc import Callable
from typing import Any

from prefbench.bench.device import release_memory

__all__ = ["Hold", "Networks", "free_share", "load_anew"]

Hold = Callable[[str, Callable[[], Any]], Any]
"""hold(name, load): the network of that name, loaded now or before."""

ROOM = 0.5
"""Share of a GPU's memory that must be free for a network to stay. Ours."""


def load_anew(name: str, load: Callable[[], Any]) -> Any:
    """Hold nothing: every use loads."""
    return load()


def free_share(device: str) -> float:
    """Share of a device's memory that is free; 0 on a CPU, where nothing is to be kept."""
    if not device.startswith("cuda"):
        return 0.0
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return float(free / total)


class Networks:
    """What is loaded, by name; call it as a `Hold`.

    Args:
        device: a torch device.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._kept: dict[str, Any] = {}
        self._latest: str | None = None

    def __call__(self, name: str, load: Callable[[], Any]) -> Any:
        """The network called `name`, loaded unless it is here; what was loaded before it may have to go first."""
        if name not in self._kept:
            self.settle()
            self._kept[name], self._latest = load(), name
        return self._kept[name]

    def settle(self) -> None:
        """Let the latest network go unless there is room beside it; call when its work is done."""
        if self._latest is not None and free_share(self._device) < ROOM:
            del self._kept[self._latest]
            release_memory(self._device)
        self._latest = None
