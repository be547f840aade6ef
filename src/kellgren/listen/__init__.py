"""A station in a hospital's picture network: films in, answers out, nothing lost in between.

`spool.py` keeps every step on disk, `receiver.py` takes films, `sender.py` gives answers, and
`station.py` runs them side by side.
"""
