"""The blind survey: its questions and the store of votes."""
