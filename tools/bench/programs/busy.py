"""Keeps a core busy until it is killed."""

from tools.bench.programs import job as jobs


def main() -> None:
    """Says that it is there, and goes on."""
    jobs.answer(jobs.read())
    while True:
        pass


if __name__ == "__main__":
    main()
