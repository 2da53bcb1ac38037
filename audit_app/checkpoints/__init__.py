"""Signed checkpoints of the log, and the anchors that leave the database."""
