"""Chaos: real processes under order flow are killed, paused and cut off, and the simulator's ledger judges."""
