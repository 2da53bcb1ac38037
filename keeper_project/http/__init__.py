"""HTTP around the apps: middleware, problem details, pagination, JSON."""
