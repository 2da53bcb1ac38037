"""The command line and the documents that are written from it."""
