"""Keeper's processes: stopped, killed, out of memory, among slow systems."""
