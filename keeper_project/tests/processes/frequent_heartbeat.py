"""A Keeper whose heart beats every second: `python -m keeper_project.tests.processes.frequent_heartbeat run ...`."""

from typing import Any

from celery.signals import celeryd_init

from keeper_project.runtime import cli


@celeryd_init.connect
def beat_each_second(conf: Any, **_signal: object) -> None:
    """Have beat send the heartbeat's task each second, and look for a checkpoint to sign every five."""
    conf.beat_schedule["worker-heartbeat"]["schedule"] = 1.0
    conf.beat_schedule["make-checkpoint"]["schedule"] = 5.0
    conf.beat_schedule["deliver-notifications"]["schedule"] = 5.0


if __name__ == "__main__":
    cli.main()
