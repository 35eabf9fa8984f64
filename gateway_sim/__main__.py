"""`python -m gateway_sim`."""

import sys

from gateway_sim.cli import main

sys.exit(main())
