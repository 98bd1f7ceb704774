"""A training run, from its recipe to its output folder. Needs the extra ``train``."""
