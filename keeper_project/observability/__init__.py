"""Logs and metrics."""

from keeper_project.left_out import load_without

# It would colour and frame the tracebacks of a terminal.
load_without("structlog", "rich")
