"""Knees as a network trains on them: decoded once, kept, changed at random."""
