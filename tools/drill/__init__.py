"""`make restore-drill`: a running Keeper is backed up while it is written to, and comes back elsewhere."""

# Secrets that the seed stores, before the writers start.
SEEDED = 60
