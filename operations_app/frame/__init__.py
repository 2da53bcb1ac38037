"""What the frame of every page shows: navigation, environment, person."""
