"""The settings of the C library's allocator under which Pangea trains, for its peers: memory that was freed is kept
instead of returned to the kernel, which would have to clear every page again in the next step."""

from __future__ import annotations

import ctypes

DEFAULT, TUNED = "glibc's default", "tuned as Pangea's"
# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_SETTINGS = {_M_MMAP_THRESHOLD: 1 << 30, _M_TRIM_THRESHOLD: 0x7FFFFFFF, _M_TOP_PAD: 64 << 20}


def tune() -> None:
    """Applies the settings to this process.

    Raises:
        RuntimeError: the allocator refuses them; then a contender that is called tuned would not be.
    """
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in _SETTINGS.items():
        if not mallopt(parameter, value):
            raise RuntimeError(f"mallopt({parameter}, {value}) was refused; this C library is not glibc")
