"""A finished dataset in one page that loads nothing: figures, tables, and a gallery of clips."""
