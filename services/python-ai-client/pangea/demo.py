"""`./bazelw run //:demo`: trains a digit classifier on 1,797 images with two workers, as `pangea train` does."""

import sys

from pangea.commands.main import main

if __name__ == "__main__":
    main(args=["train", *sys.argv[1:]], prog_name="demo")
