"""The processes that share a run, as accelerate, torchrun or nothing launched them."""

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

__all__ = ["process_state"]


def process_state() -> PartialState:
    """Accelerate's view of the processes; whoever asks first decides it for the rest of the process.

    A bare PartialState() does not look at ACCELERATE_USE_CPU, and several CPU processes would each take themselves
    for the only one.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
