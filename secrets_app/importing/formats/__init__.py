"""The file formats of imports."""
