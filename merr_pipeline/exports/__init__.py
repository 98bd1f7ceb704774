"""From a finished dataset to what trainers eat: one module per format."""
