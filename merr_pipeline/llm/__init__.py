"""The one door to models: every question to a language, vision or audio model goes through it."""
