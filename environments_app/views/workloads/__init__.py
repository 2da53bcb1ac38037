"""Pages of workloads: the trusts by which they sign in."""
