"""What this installation is: version, settings, queues, schedules."""
