"""Published networks as experts of a bundle: their catalog, their tensors, and bundles that hold them."""
