"""What each person is told: on a page, by a number beside the bell, and once a day by e-mail."""
