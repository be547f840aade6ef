"""A batch on a Ray cluster: the same units of work, graded by actors, kept in the same journal."""
