"""Tests of the sync's backends, against servers."""
