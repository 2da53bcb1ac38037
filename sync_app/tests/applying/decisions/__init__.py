"""What people choose, and what a plan shows them before."""
