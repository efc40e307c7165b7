"""The enforcement point: the eight steps of docs/architecture.md for everything that apps read."""
