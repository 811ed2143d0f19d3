"""What any app needs and no app is about: refusals, and how they are answered. Imports no app."""
