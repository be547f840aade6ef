"""Work on a Ray cluster: units of a batch by actors, jobs of a campaign by tasks, kept as on one machine."""
