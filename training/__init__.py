"""Offline training: collect photographs, train colorizers and classifiers, publish bundles, evaluate them. Never imports `app`."""
