"""The real servers that tests need: each is started once, and stopped, by `python -m tests.servers`."""
