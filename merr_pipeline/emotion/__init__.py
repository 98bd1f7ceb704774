"""What emotions are called, what faces do, and which label a clip gets."""
