"""`kellgren bench`: what it measures, what it shows, and the engine that `grade` remembers."""
