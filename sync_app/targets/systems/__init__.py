"""Which system a target is in: destinations, connection tests, systems that were rebuilt."""
