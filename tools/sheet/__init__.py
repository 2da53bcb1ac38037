"""The sheet of screenshots in docs/images: a seeded Keeper, and the pages that are taken of it (make screenshots)."""
