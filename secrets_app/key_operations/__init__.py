"""Keys rotated, rewrapped, checked, tried."""
