"""What is shipped around the code: licences, assets, charts, alerts, the demo, the servers of the tests."""
