"""What a grade rests on: class-activation maps, their test, similar knees."""
