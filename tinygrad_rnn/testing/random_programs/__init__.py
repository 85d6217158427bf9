"""Random programs: tensor code that hypothesis generates, runs and shrinks."""
