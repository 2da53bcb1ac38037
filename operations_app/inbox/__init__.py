"""The inbox of each user: a page, a counter at the bell, and a daily digest by e-mail."""
