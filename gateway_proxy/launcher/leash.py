"""Becomes another program that does not outlive the launcher: `leash.py LAUNCHER_PID PROGRAM ARGUMENT…`

Linux tells a process when its parent died (PR_SET_PDEATHSIG). Asking for it here, in a fresh process, instead of
between fork and exec keeps threads of the launcher out of the game. Elsewhere the launcher's own stop must do.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Never returns. Exits with 1 when the launcher is already gone."""
    launcher_pid, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != launcher_pid:
        sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
