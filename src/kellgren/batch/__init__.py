"""Many files: graded side by side, kept as they come, the two knees of a patient paired."""
