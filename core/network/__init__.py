"""Where requests come from, and where Keeper may connect."""
