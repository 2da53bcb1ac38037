"""What operators look at: queues and leases, and the settings with where each comes from."""
