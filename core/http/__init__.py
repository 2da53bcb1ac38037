"""JSON, problem documents, and a request before Django."""
