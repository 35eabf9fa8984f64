"""Real client libraries, each in its own virtual environment, hold the same conversation with the simulator."""
