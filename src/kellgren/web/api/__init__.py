"""What HTTP asks and is answered: uploads, cases, similar knees, reading studies."""
