"""The composition root in parts: each builds one thing from the settings and what stands on the ground."""
