"""`keeper run` whose read engine ends its thread in the middle of a batch whenever the file FAULT_FILE is there."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keeper_project.runtime.cli import main

FAULT = Path(os.environ["FAULT_FILE"])


def _break_the_engine() -> None:
    from secrets_app.read_engine.engine import ReadEngine

    answer = ReadEngine._reads

    def faulty(engine: ReadEngine, requests: Sequence[Any]) -> Any:
        if FAULT.exists():
            FAULT.unlink()
            answer(engine, requests)
            # All of it is recorded, and nobody has got it yet.
            raise SystemExit
        return answer(engine, requests)

    ReadEngine._reads = faulty  # type: ignore[assignment,method-assign]


def _main() -> None:
    from keeper_project.runtime import server

    web = server.web

    def faulty_web(**options: Any) -> Any:
        child = web(**options)
        _break_the_engine()
        return child

    server.web = faulty_web
    main()


if __name__ == "__main__":
    _main()
