"""Running a command with its secrets."""
