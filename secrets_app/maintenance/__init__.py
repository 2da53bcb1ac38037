"""Scheduled upkeep: integrity scans, purging; report sections."""
