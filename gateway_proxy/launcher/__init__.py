"""Starts simulator, proxy, engines and monitor from one configuration and keeps them running: `make run`.

The decisions are core/supervisor.py's. This package spawns, listens for readiness, prefixes lines and delivers
signals; it never talks to the Gateway and knows nothing about trading.
"""
