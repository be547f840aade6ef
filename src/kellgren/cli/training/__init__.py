"""`kellgren train`: its commands, and what they show while they run."""
