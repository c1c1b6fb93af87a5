"""What a model is trained on: splits, sampling, batches, augmentation of features."""
