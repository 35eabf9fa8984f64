"""The terminal app (`make monitor`): the same view as everywhere, in panels, with keys for the next question."""
