"""Readings as DICOM objects: report, secondary capture, segmentation and presentation state.

`answer.py` makes all objects of one picture; the other files make one kind of object each.
highdicom never sees the patient: it gets a copy of the source's header without the patient's
elements (`common.py`), which are copied into what it made.
"""
