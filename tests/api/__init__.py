"""The API as a whole: its document, its fast paths, its strict neighbours."""
