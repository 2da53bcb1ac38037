"""What happened: actors, events, their chain, checkpoints and reports."""
