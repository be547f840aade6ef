"""Readings in the language of whoever asks: tables, records, archives."""
