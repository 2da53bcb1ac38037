"""Planning: discovery, comparison, plan items, write recovery."""
