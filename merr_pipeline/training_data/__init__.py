"""What the model is shown: examples from a finished dataset, and features made once.

Needs the extra ``train``.
"""
