"""Where each knee lies on a film, which side it is, and whether it may be graded."""
