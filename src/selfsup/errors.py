"""The errors that a user can mend: one sentence each, shown without a traceback."""


class UserError(Exception):
    """A problem in what the user gave: says what is wrong, where, and how to mend it.

    The command line prints the message alone and exits with code 2.
    """


class Interrupted(Exception):
    """The study was asked to stop (Ctrl-C, SIGTERM); all finished work is on disk."""
