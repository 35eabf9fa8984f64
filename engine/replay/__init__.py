"""The same engine core over recorded bars, at full speed, with stated assumptions about fills."""
