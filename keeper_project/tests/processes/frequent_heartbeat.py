"""A Keeper whose heart beats every second: `python -m keeper_project.tests.processes.frequent_heartbeat run ...`."""

from datetime import timedelta
from typing import Any

from celery.signals import celeryd_init

from keeper_project.runtime import cli


@celeryd_init.connect
def beat_each_second(conf: Any, **_signal: object) -> None:
    """Have beat send the heartbeat's task each second, and sign a checkpoint every five if there is one due."""
    # Django is loaded by now.
    from audit_app.checkpoints import signing

    signing._AGAIN_AFTER = timedelta(seconds=3)  # type: ignore[misc]
    conf.beat_schedule["worker-heartbeat"]["schedule"] = 1.0
    conf.beat_schedule["make-checkpoint"]["schedule"] = 5.0
    conf.beat_schedule["deliver-notifications"]["schedule"] = 5.0


if __name__ == "__main__":
    cli.main()
