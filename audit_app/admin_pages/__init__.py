"""What every page of the Django admin has: read-only lists, hidden columns, filters, what needs attention."""
