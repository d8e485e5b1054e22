"""Names of the scorers that a method's own constant lists."""

from prefbench.bench.exceptions import UsageError

__all__ = ["voters_of"]


def voters_of(text: str) -> tuple[str, ...]:
    """The names in a list separated by commas.

    Raises:
        UsageError: no name, or one that stands twice: a voter has one vote.

    >>> voters_of("mini:clip, mini:pickscore")
    ('mini:clip', 'mini:pickscore')
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UsageError("voters is empty. Name scorers: voters=pickscore,hpsv2.1,imagereward.")
    if len(set(names)) != len(names):
        raise UsageError(f"voters = {text} names a scorer twice. A voter has one vote.")
    return names
