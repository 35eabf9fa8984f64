"""One trading process: completed bars in, indicators, a decision with its reasons, a sized bracket order out.

It knows the rest of the system only through the public names of `gateway_proxy`.
"""
