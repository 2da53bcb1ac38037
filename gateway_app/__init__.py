"""What clients of other protocols speak, and all that is answered before Django."""
