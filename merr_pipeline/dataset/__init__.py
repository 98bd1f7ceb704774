"""From stage rows to a finished dataset: who is in, which split, shards, card, checks."""
