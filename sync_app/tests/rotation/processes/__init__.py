"""Rotations by processes: killed, stopped, cut off, with wrong clocks."""
