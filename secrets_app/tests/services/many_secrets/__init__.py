"""Acts on many secrets at once."""
