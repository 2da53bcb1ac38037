"""A Keeper that is soon content again: `python -m tests.soak.hasty run …`.

A part that was killed and started again counts as steady after 5 s instead of 60: until then /readyz says degraded.
"""

from keeper_project.runtime import cli, supervisor

if __name__ == "__main__":
    supervisor.STEADY_SECONDS = 5.0  # type: ignore[misc]
    cli.main()
