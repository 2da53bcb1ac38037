"""`make soak`: Keeper as `make run` starts it, used in every way for hours, while its processes are killed."""
