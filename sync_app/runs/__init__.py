"""Runs of a target: the runner, the schedule, report sections."""
