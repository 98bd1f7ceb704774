"""From short video clips of people to multimodal emotion recognition and reasoning records."""

__version__ = "0.1.0"
