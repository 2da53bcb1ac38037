"""The systems that Keeper stands on or talks to: asked in the background, shown from rows alone."""
