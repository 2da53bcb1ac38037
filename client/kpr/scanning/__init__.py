"""Finding secrets in files, without printing them."""
