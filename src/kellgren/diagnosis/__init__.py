"""What this installation is made of, and what is broken in it; names no user and no folder."""
