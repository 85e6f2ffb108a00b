"""The workshop: makes the checkpoints that the service serves. Offline; knows `models`, never `app`."""
