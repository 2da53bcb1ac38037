"""Leases, the queue and the worker pool."""
