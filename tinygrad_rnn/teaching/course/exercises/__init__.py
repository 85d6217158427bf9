"""The exercises, a file each: what is asked, a solution, the cases, and the mistakes that people make.

``x03_tanh.py`` is number 3, ``tanh``.  The file's docstring is the text that the learner reads.
"""
