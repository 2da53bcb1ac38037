"""Import of files: the plan and its execution."""
