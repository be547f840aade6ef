"""Readings in the PACS's own language: structured report, pictures, segmentation, presentation.

`answer.py` is the way in; the other files make one kind of object each. highdicom and the patient
meet only in `source.py`: what highdicom gets is a stand-in without name or number, and the
patient's elements are laid over what it made.
"""
