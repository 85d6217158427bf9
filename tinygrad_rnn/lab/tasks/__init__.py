"""Generators of the laboratory's tasks: vectorised, each tested against one that makes a sequence at a time."""
