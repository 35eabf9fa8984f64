"""Measurements, one JSON object a line. Only ratios within one run mean anything; every bench prints its losses."""
