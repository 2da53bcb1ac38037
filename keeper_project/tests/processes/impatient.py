"""A Keeper that closes stuck connections sooner: `python -m keeper_project.tests.processes.impatient run ...`."""

from keeper_project.runtime import cli, request_threads, server, stuck_connections

if __name__ == "__main__":
    server.HEAD_SECONDS = 2  # type: ignore[misc]
    request_threads.BODY_SECONDS = 2.0  # type: ignore[misc]
    stuck_connections.TICK_SECONDS = 0.2  # type: ignore[misc]
    stuck_connections.QUIET_SECONDS = 3.0  # type: ignore[misc]
    stuck_connections.UNANSWERED_SECONDS = 5.0  # type: ignore[misc]
    cli.main()
