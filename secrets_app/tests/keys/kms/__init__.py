"""Key providers, KMS above all, and their faults."""
