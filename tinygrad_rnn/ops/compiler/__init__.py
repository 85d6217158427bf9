"""The cell compiler: one step of any cell, traced, as a program over its units."""
