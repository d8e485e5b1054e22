"""One lazy table of names for scorers, methods, prompt sets and suites.

Built-ins are a literal dict of name -> "module:attribute", imported at first use. Third parties add names through an
entry-point group. A plug-in that fails to import stays listed as broken, and asking for it raises its error.

A name may be open: "judge:<url>" answers for every name that begins with "judge:" and goes on. What follows is its
loader's business; a name that is listed in full, or with a longer beginning, comes first.
"""

import difflib
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from prefbench.bench.exceptions import PrefbenchError, UsageError

__all__ = ["Registry", "unknown_name"]

T = TypeVar("T")


def unknown_name(kind: str, name: str, known: list[str]) -> UsageError:
    """The error for a name that does not exist: nearest valid name first, then all of them."""
    longer = [other for other in known if name and other.startswith(name)]
    near = longer[:1] or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(known)) or 'none'}.")


class Registry(Generic[T]):
    """Names of one kind of thing, resolved when first asked for.

    Args:
        kind: what is registered, as it reads in an error ("scorer").
        builtins: name -> "module:attribute"; an open name ends with what is to be filled in, "<...>".
        group: entry-point group that third parties use, or None.
    """

    def __init__(self, kind: str, builtins: dict[str, str], group: str | None = None) -> None:
        self.kind = kind
        self._targets: dict[str, str] = dict(builtins)
        self._group = group
        self._scanned = group is None

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=self._group or ""):
            self.add_entry_point(point)

    def add_entry_point(self, point: EntryPoint) -> None:
        """Add one third-party name. Raises UsageError if the name is taken."""
        if point.name in self._targets:
            raise UsageError(
                f"Two {self.kind}s are called {point.name!r}: {self._targets[point.name]} and {point.value}. "
                "Uninstall one of the packages or rename its entry point."
            )
        self._targets[point.name] = point.value

    def names(self) -> list[str]:
        """All names, built-in first, in table order."""
        self._scan()
        return list(self._targets)

    def target(self, name: str) -> str:
        """The "module:attribute" behind a known name. Raises UsageError for any other."""
        return self._targets[self._key(name)]

    def listed_target(self, name: str) -> str:
        """The "module:attribute" behind one of `names()`, open names included."""
        self._scan()
        return self._targets[name]

    def __contains__(self, name: str) -> bool:
        try:
            self._key(name)
        except UsageError:
            return False
        return True

    def _key(self, name: str) -> str:
        """The listed name that answers for `name`."""
        if name in self.names() and "<" not in name:
            return name
        openings = {key: key.partition("<")[0] for key in self.names() if "<" in key and key.endswith(">")}
        if unfilled := [key for key, start in openings.items() if name in (key, start)]:
            raise UsageError(
                f"The {self.kind} {name!r} lacks what is to stand for the <...> of {unfilled[0]!r}."
            )
        fitting = [key for key, start in openings.items() if name.startswith(start)]
        if not fitting:
            raise unknown_name(self.kind, name, self.names())
        return max(fitting, key=lambda key: len(openings[key]))

    def get(self, name: str) -> T:
        """The registered object.

        Raises:
            UsageError: unknown name, with the nearest known one.
            PrefbenchError: the module behind the name cannot be imported.
        """
        target = self.target(name)
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise PrefbenchError(
                f"The {self.kind} {name!r} is broken: importing {target} failed with "
                f"{type(error).__name__}: {error}. Reinstall the package that provides it."
            ) from error
