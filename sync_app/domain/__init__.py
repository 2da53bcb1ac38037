"""Pure rules without Django queries: reconciliation, states, cadence."""
