"""The pages. Each view asks, then renders; what is done is in services."""
