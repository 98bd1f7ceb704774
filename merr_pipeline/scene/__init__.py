"""What is to be seen: as measured facts."""
