"""The experiments, one file each, found by the names of the files: see ``lab/catalogue.py``."""
