"""Work on a Ray cluster: units of a batch and jobs of a campaign, kept as on one machine."""
