"""`kellgren calibrate`: the local knees that it reads, and what it shows of them."""
