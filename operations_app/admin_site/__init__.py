"""The Django admin as a whole: its index by task, what needs attention, recent acts."""
