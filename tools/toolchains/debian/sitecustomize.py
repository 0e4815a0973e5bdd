"""Makes `sys.executable` a program that can be started.

The interpreter's ELF file would be started by the host's loader; children (multiprocessing, `subprocess` with
`sys.executable`) must go through the launcher, which names itself in PANGEA_PYTHON.
"""

import os
import sys

sys.executable = os.environ.get("PANGEA_PYTHON", sys.executable)
