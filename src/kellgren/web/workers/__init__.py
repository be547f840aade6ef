"""Grading in processes of their own, and the pool that feeds them."""
