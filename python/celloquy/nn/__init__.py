"""Tensors in, tensors out: the parts of the model, which know nothing of AnnData."""
