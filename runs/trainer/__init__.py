"""The trainer: a local run's default command. It runs in Tunix's own environment and knows nothing else of `runs`."""
