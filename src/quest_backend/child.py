"""Run a command that dies with the server: ``python child.py PARENT_PID [SIGNAL] -- COMMAND...``.

A server killed with -9 must leave no orphan that goes on writing into its data directory. Linux
tells a process of its parent's death (prctl PR_SET_PDEATHSIG, which survives exec).
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    split = sys.argv.index("--")
    parent, command = int(sys.argv[1]), sys.argv[split + 1 :]
    goodbye = int(sys.argv[2]) if split > 2 else signal.SIGTERM
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, goodbye)
    if os.getppid() != parent:
        return  # it died before we asked to be told
    try:
        os.execvp(command[0], command)  # noqa: S606 - the server's own command, no shell
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
