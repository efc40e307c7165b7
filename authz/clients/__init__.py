"""Apps: their registration, their keys, and how they say who they are."""
