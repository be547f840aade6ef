"""Readings as FHIR resources and DICOM objects; pseudonyms of patients."""
