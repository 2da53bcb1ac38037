"""docker-compose.prod.yml without containers: exactly its commands and variables, on servers of their own."""
