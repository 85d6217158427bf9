"""Writes in place: versions, views and what a write does to the history of both."""
