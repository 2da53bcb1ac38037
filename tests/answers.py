"""What a program that `tests.processes.Process` started answers over its pipes."""

import json
import sys
from collections.abc import Callable
from typing import Any


def answer(*acts: Callable[..., dict[str, Any]]) -> None:
    """Do what each line asks for by the name of a function, and say what came of it, until nobody asks."""
    asked = {act.__name__: act for act in acts}
    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.write(json.dumps(asked[request.pop("do")](**request)) + "\n")
        sys.stdout.flush()
