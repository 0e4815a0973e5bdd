"""`python -m pangea`."""

from pangea.cli import main

if __name__ == "__main__":
    main(prog_name="pangea")
