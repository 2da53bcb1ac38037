"""Sessions: how they are stored, when they end, and who may end them."""
