"""Verification of log streams: the walk, the verdict, and what was pruned."""
