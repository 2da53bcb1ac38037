"""Loads libraries without what they import if it is installed, and no process of Keeper's uses."""

import sys
from importlib import import_module


def load_without(module: str, *names: str) -> None:
    """Import a module while imports of these packages fail as if they were not installed.

    What is loaded already stays, and may be imported afterwards. Raises what the import raises.
    """
    hidden = [name for name in names if name not in sys.modules]
    # Import treats None as a package that is not there.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # the stubs know modules alone
    try:
        import_module(module)
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
