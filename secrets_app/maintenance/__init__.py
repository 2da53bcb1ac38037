"""Scheduled upkeep: integrity scans, purging, reports."""
