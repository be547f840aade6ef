"""What passes between programs: tables as spreadsheets have them, the mark of own pictures."""
