"""Taking people out of an output folder again: rows, pictures, answers, store, and the proof."""
