"""A DICOM station of a hospital network: receives films, sends results, loses none in between.

`spool.py` keeps every step on disk. `acceptor.py` takes connections of those whom `callers.py` lets
in, `connection.py` times them, `objects.py` brings what they send to the disk, and `receiver.py`
decides on it. `answering.py` reads a film, here or in the process of `alone.py`; `sender.py` sends
results, and `station.py` runs all side by side.
"""
