"""The classic tables on long-term dependencies: recipes as data, published figures, and what is reached here.

>>> from tinygrad_rnn.lab import papers
>>> recipe = papers.find("cliff")
>>> reached = recipe.reach("quick", seed=0)
>>> reached.words, reached.passed
('same recipe', True)
>>> print(papers.find("adding").published[0])
solved after 74,000 sequences, 1 of 2,560 wrong [P: table 7]
"""

from .recipes import RECIPES, find

__all__ = ["RECIPES", "find"]
