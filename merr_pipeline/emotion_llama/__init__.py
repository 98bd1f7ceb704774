"""Emotion-LLaMA in the shape of transformers: model, processor, prompt. Needs the extra ``train``.

It knows nothing of datasets and of training runs.
"""
