"""Fixtures of the engine's tests."""

from sync_app.tests.applying.conftest import (
    _no_haste,
    _no_lag,
    _no_pauses,
    _short_cut,
    database,
    nudges,
    stage,
)

__all__ = ["_no_haste", "_no_lag", "_no_pauses", "_short_cut", "database", "nudges", "stage"]
