"""Key providers: what wraps data keys."""
