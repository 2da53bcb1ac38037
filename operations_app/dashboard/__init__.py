"""The dashboard: what needs someone, what is kept, what happened, and whether all is well."""
