"""What survives a killed server: cases and studies in SQLite, pictures by checksum."""
