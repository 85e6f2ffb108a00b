"""Networks that only training needs: classifiers, pretrained trunks, discriminators."""
