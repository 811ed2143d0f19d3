"""The HTTP API. What is asked is checked here; what is done is in services."""
