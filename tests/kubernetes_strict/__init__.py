"""The part of a Kubernetes API server that Keeper asks, as the API conventions document it; and its failures."""
