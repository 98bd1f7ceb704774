"""From measurements to a text that reasons from them and from nothing else."""
