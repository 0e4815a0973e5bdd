"""Asks pages of Pangea's own processes. They are on this machine or in its network, so no proxy of the environment is asked."""

from __future__ import annotations

import urllib.request

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float) -> bytes:
    """The page.

    Raises:
        OSError: nobody answers within `timeout` seconds, or not with success.
        http.client.HTTPException, ValueError: what answers is no HTTP server, or the URL is none.
    """
    with _DIRECT.open(url, timeout=timeout) as answer:
        return bytes(answer.read())
