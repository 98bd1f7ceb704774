"""Emotion-LLaMA in the shape of transformers, and the data it learns from.

Needs the extra ``train``; nothing else of merr_pipeline imports this room.
"""
