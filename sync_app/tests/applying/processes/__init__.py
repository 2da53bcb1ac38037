"""Passes by processes: killed, stopped, late, slow, and two installations at one place."""
