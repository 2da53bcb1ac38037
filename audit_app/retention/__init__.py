"""Pruning of old events, and the archives and bundles that hold them."""
