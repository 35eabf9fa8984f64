"""`python -m engine`: ends at once when its work is done, because taking numba apart politely costs over a second."""

import os
import sys

from engine.cli import main
from gateway_proxy import stop_logs

if __name__ == "__main__":
    code = main()
    stop_logs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
