"""Those who do the jobs of a campaign, one beside the other."""
