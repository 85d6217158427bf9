"""Random programs: tensor code that hypothesis writes, runs and shrinks."""
