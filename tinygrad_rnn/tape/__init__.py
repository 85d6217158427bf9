"""The engine: what was recorded, and how to walk it."""
