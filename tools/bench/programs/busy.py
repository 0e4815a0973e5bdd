"""Keeps a core busy until it is killed."""


def main() -> None:
    """Counts without end, until the process is killed."""
    while True:
        pass


if __name__ == "__main__":
    main()
