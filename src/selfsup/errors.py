"""The errors that a user can mend: one sentence each, shown without a traceback."""


class UserError(Exception):
    """A problem in what the user gave: says what is wrong, where, and how to mend it.

    The command line prints the message alone and exits with code 2.
    """


class Interrupted(Exception):
    """The study was asked to stop (Ctrl-C, SIGTERM); all finished work is on disk.

    Attributes
    ----------
    signal : int
        Number of the signal: 2 for Ctrl-C, 15 for SIGTERM, 0 for none, when the time is over.
    left : str
        What is left to do, if that is not to go on.
    """

    def __init__(self, signal: int = 2, left: str = "") -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal, self.left = signal, left
