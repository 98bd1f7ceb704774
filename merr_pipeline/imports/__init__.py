"""From annotations that others have made to a dataset in our columns."""
