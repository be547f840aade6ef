"""From graded knees to a bundle: recipes, members, campaigns, the choice among members."""
