"""The kinds of values: validated, described."""
