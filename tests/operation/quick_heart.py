"""Celery's programs with a heart that beats each second instead of each half minute.

`python -m tests.operation.quick_heart worker …` and `… beat` run what `celery --app keeper_project` runs.
"""

import sys

from celery.app.utils import find_app

if __name__ == "__main__":
    app = find_app("keeper_project.celery")
    app.conf.beat_schedule["worker-heartbeat"]["schedule"] = 1.0
    app.start(sys.argv[1:])
