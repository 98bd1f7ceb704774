"""What is to be seen: as measured facts, or as a vision model sees it."""
