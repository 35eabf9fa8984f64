"""`python -m gateway_proxy.launcher --config FILE`."""

import sys

from gateway_proxy.launcher.command import main

if __name__ == "__main__":
    sys.exit(main())
