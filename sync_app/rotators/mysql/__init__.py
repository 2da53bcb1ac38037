"""MySQL and MariaDB as rotator."""
