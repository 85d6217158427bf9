"""Benchmarks: this package against its peers, by turns in one process, as ratios of medians.

``tinygrad-rnn bench`` runs them.  A peer that cannot be imported is left out and named.  Times on a shared machine
vary by a factor of two; the ratio of two programs that take turns varies far less, so ratios are reported.
"""
