"""Bundles in int8, by storage or by arithmetic: taken only where real knees keep their grades."""
