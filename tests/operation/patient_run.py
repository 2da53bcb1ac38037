"""`keeper run` that waits for minutes until its web server has finished what it has begun.

A busy machine may take longer for it than the grace that production gives, which is no fault of the stop.
"""

from keeper_project.runtime import cli, server, supervisor

FINISH_SECONDS = 120

if __name__ == "__main__":
    server.FINISH_SECONDS = FINISH_SECONDS  # type: ignore[attr-defined]
    supervisor.STOP_SECONDS = FINISH_SECONDS + 5.0  # type: ignore[misc]
    cli.main()
