"""PyTorch's random streams: the generator, its distributions, and in-place filling of tensors."""
