"""The command ``tinygrad-rnn explain``: runs a script, and makes a page that shows a backward pass of it."""
