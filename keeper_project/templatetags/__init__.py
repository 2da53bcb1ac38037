"""Template tag libraries of the pages."""
