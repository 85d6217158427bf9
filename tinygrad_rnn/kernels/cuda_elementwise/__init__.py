"""CUDA kernels beside the recurrent ones: activations, cross entropy, embeddings, updates of many tensors."""
