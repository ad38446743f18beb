"""`python -m mpcrt` is the `mpcrt` command."""

from mpcrt.cli import main

if __name__ == "__main__":
    main()
