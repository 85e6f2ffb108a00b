"""The training loop, and the folder of a run: checkpoints, metrics, lock, processes."""
