"""Django's MySQL backend, which refuses a connection that the server left unencrypted (DATABASES ENGINE)."""
