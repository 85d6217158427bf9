"""PyTorch's random streams: the generator, what is drawn from it, and how tensors are filled."""
