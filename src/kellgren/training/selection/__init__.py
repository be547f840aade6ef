"""Which members vote and by which rule, judged out of fold; the bundle of them."""
