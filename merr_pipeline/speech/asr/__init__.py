"""Speech recognition: words from the sound of a clip, by a model that the user has."""
