"""What comes in: the list of clips, and what each of them is."""
