"""The fast path of a plain read by token."""
