"""HTTP around the apps: middleware, errors, and the document of the API."""
