"""`python -m mpcrt` is the `mpcrt` command."""

from mpcrt.cluster import signals, streams


def main() -> None:
    """The `mpcrt` command. What it needs is imported once a signal meanwhile ends it as it should."""
    streams.prepare()
    signals.end_at_once()

    from mpcrt.cli import main as command

    command()


if __name__ == "__main__":
    main()
