"""Watching the engine: observers, the tape as an object, source lines, growing graphs."""
