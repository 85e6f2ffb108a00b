"""Datasets: the dataset index, packs of pixels, augmentation, and batches."""
