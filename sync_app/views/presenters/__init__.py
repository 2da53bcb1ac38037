"""What pages show of targets, plans and rotation."""
