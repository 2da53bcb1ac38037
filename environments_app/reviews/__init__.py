"""Access reviews: a frozen list of who has which access, decided line by line, and signed off."""
