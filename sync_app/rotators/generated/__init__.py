"""Values that Keeper generates itself."""
