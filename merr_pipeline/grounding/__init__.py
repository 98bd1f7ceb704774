"""Whether a text says nothing but what the evidence shows: claim by claim, from the text alone."""
