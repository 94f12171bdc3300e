"""Text in a Plotly figure."""

from __future__ import annotations

import html


def safe(text: str) -> str:
    """On one line, and no letter of it read as markup or as a place for a value (`%{x}`). Plotly shows `&quot;` as it
    stands, so quotes stay quotes."""
    return html.escape(" ".join(text.split()), quote=False).replace("%{", "%\u2060{")
