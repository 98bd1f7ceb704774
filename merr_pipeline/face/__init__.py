"""Faces: which are seen, where, and what they do (the `face` stage)."""
