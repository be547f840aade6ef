"""Many files: graded in parallel, kept in a journal, the two knees of a patient paired."""
