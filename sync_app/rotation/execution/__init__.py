"""Execution of a rotation: steps, lease, runner, operator actions."""
