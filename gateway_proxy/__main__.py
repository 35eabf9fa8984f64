"""`python -m gateway_proxy`."""

import sys

from gateway_proxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
