"""People, environments, roles and tokens: who may do what where."""
