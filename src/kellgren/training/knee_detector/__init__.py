"""Training of the network that finds knees, and of the one that tells left from right."""
