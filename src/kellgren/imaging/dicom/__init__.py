"""DICOM files: header, pixel data in a safe decoder, displayed grey values."""
