"""Sinks: where checkpoints and events are delivered outside the database."""
