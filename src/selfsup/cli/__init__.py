"""The command line: a thin layer on the Python API."""

from selfsup.cli.console import end_by_interrupt


def main() -> None:
    """Run the command; Ctrl-C ends it with one line also while what it is made of is imported."""
    end_by_interrupt()
    from selfsup.cli.commands import main as command

    command()
