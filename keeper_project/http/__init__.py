"""HTTP around the apps: middleware, problem details, JSON."""
