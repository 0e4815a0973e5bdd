"""Keeps a core busy until it is killed."""


def main() -> None:
    """Never ends."""
    while True:
        pass


if __name__ == "__main__":
    main()
