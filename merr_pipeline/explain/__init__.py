"""One clip in one picture: what was seen, when, and why this moment was chosen."""
