"""The recorded read of one value by a token: one thread of a process serves all that wait, by batches."""
