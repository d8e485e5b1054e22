"""Which device to compute on."""

import os
import platform

from prefbench.bench.exceptions import UsageError

__all__ = ["hardware_name", "release_memory", "resolve_device"]


def resolve_device(name: str) -> str:
    """The torch device for a name: "auto" is CUDA if there is any, else the CPU; another name is checked.

    Raises:
        UsageError: no torch device has this name, or this machine has none of it.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:  # torch's own message lists two dozen kinds of device
        raise UsageError(f"{name!r} is no device. Use auto, cpu, cuda or cuda:N.") from error
    try:
        torch.ones(1, device=device).item()  # `meta` has tensors too, and no numbers in them
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"Device {name!r} cannot be used here: {reason}. Use auto, cpu, cuda or cuda:N."
        ) from error
    return name


def release_memory(device: str) -> None:
    """Give a GPU's memory back after a network went out of scope, so that the next one finds room.

    On the CPU there is nothing to do: networks are freed by reference count.
    """
    if device.startswith("cuda"):
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


def hardware_name(device: str) -> str:
    """What computes: the GPU's model, or the kind of processor with the number of threads that are used."""
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine() or 'processor'}, {torch.get_num_threads()} of {os.cpu_count()} threads"
