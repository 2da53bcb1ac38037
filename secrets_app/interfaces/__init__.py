"""What higher apps inject: panels and write guards."""
