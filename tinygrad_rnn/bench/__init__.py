"""Benchmarks: this package against its peers, in one process, taking turns, as ratios of medians.

``tinygrad-rnn bench`` runs them.  A peer that cannot be imported is left out and named.  Times on a shared machine
swing by a factor of two; a ratio of two programs that took turns swings far less, so ratios are what is reported.
"""
