"""A trained model is asked, about a split of a dataset or about clips that nobody has described.

Needs the extra ``train``.
"""
