"""`kellgren grade`: its options, and how it runs a batch."""
