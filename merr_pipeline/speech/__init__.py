"""What is heard: the voice, the words, the tone."""
