"""HTTP requests to Pangea's own processes.

They are on this machine or in its network, so proxies of the environment are not used.
"""

from __future__ import annotations

import urllib.request

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float) -> bytes:
    """The body of the page at `url`.

    Raises:
        OSError: there is no answer within `timeout` seconds, or its status is an error.
        http.client.HTTPException, ValueError: the answer is not HTTP, or `url` is not a URL.
    """
    with _DIRECT.open(url, timeout=timeout) as response:
        return bytes(response.read())
