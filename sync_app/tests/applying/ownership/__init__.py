"""Nothing is written or deleted that Keeper does not own."""
