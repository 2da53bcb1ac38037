"""What every app stands on: no models, no rule of Keeper."""
