"""How every command behaves: its help, its progress, and its words when it ends badly."""
