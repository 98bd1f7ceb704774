"""What a model's answers are worth: read, scored with intervals, compared, drawn.

Nothing here knows which model answered, so nothing here needs torch.
"""
