"""The models of keys; `secrets_app.models` re-exports them."""
