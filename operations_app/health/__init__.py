"""The systems that Keeper depends on: probed in the background, shown from stored rows."""
