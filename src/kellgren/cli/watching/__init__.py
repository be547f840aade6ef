"""`kellgren watch`: the readings that it compares, and what it shows of them."""
