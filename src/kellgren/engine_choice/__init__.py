"""Which engine grades fastest on a machine: measured with its bundle, and remembered for it."""
