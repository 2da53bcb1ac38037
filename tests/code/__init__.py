"""What the source and its documents must hold: imports, names, links."""
