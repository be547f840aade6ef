"""Radiographs as grey values, bone bright, with side and pixel spacing, from files and arrays."""
