"""What a pass makes of failures, lost answers and other writers."""
