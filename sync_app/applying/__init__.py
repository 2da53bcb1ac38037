"""Applying a plan: batches, preconditions, item actions, outcomes."""
