"""The layers and losses of the models: they take and return tensors and know nothing of AnnData."""
