"""How secrets reach other systems: targets, plan and apply, rotation."""
