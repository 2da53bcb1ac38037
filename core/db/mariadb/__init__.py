"""Django's MySQL backend, which begins a transaction by one statement (DATABASES ENGINE)."""
