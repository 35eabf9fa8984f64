"""The watcher: shows in terminal, browser, Prometheus and alerts what the proxy tells, and never influences it."""
