"""Sa2VA assembled from native transformers classes: model, data, engine. Knows nothing of the method built on it."""
