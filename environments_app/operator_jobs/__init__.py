"""Long work that operators ask for: stored as a row, carried out by a worker, with progress."""
