"""Elements of every page: navigation, labels, charts, times."""
