"""What people and programs are told of a joint space: words, records, places, corrections."""
