"""Readings as tables, JSON, FHIR resources and DICOM objects; pseudonyms of patients."""
