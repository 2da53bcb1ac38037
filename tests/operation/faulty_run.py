"""`keeper run` whose read engine ends between record and answer whenever the file FAULT_FILE is there."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keeper_project.runtime.cli import main

FAULT = Path(os.environ["FAULT_FILE"])


def _break_the_engine() -> None:
    from gateway_app.engine.process import Batches

    answer = Batches.served

    def faulty(batches: Batches, requests: Sequence[Any]) -> Any:
        served = answer(batches, requests)
        if FAULT.exists():
            FAULT.unlink()
            # All of it is recorded, and nobody has got it yet.
            raise SystemExit
        return served

    Batches.served = faulty  # type: ignore[assignment,method-assign]


def _main() -> None:
    from keeper_project.runtime import server

    engine = server.engine

    def faulty_engine() -> Any:
        _break_the_engine()
        return engine()

    server.engine = faulty_engine
    main()


if __name__ == "__main__":
    _main()
