"""One member in training: loop, checkpoint, teachers, what a finished run leaves."""
