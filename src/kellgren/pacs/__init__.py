"""A DICOM station of a hospital network: receives films, sends results, loses none in between.

`spool.py` keeps every step on disk, `receiver.py` receives films, `sender.py` sends results, and
`station.py` runs them side by side.
"""
