"""The process that grants and records reads, and how to ask it."""
