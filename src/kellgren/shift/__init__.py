"""Whether readings are still of the kind that they were: distributions now against a reference."""
