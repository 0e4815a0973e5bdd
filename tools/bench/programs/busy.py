"""Keeps a core busy until it is killed."""


def main() -> None:
    """Counts until the process is killed."""
    while True:
        pass


if __name__ == "__main__":
    main()
