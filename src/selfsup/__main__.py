"""``python -m selfsup``."""

from selfsup.cli.commands import main

if __name__ == "__main__":
    main()
