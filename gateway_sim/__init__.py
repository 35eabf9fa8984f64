"""A stand-in for IB Gateway: speaks the TWS socket protocol to any client, judges pacing, plays faults, keeps a ledger.

`python -m gateway_sim --help` runs it as a process; `gateway_sim.testing` runs it inside a test in virtual time.
"""
