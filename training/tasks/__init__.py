"""What can be trained: each task owns its networks, its losses and its backward."""
