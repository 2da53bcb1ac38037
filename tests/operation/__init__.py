"""Keeper in operation: processes that are killed or stopped, slow neighbours, memory."""
