"""Hooks of MkDocs: pages that lie outside `docs/`, and links that lead where they lead in the files.

In the repository a page links to files relative to itself. On the site a link to a page of the site leads there, and
one to any other file of the repository is the name of that file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
"""Pages of the site whose source lies elsewhere in the repository: by their place on the site, their source."""
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside."""
    for place, source in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let every link that leaves `docs/` lead to a page of the site or be the name of a file."""
    del config
    place = page.file.src_uri
    source = PurePosixPath(OUTSIDE.get(place, f"docs/{place}"))
    pages = {str(PurePosixPath("docs") / file.src_uri): file.src_uri for file in files}
    pages |= {of: to for to, of in OUTSIDE.items()}

    def link(found: re.Match[str]) -> str:
        target = found["target"]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        meant = os.path.normpath(source.parent / target)
        if meant in pages:
            to = os.path.relpath(pages[meant], PurePosixPath(place).parent)
            return f"{found['image']}[{found['text']}]({to}{found['anchor'] or ''})"
        if found["image"] or not (ROOT / meant).exists() or (ROOT / meant).is_relative_to(ROOT / "docs"):
            return found[0]  # MkDocs tells of a link that leads nowhere
        named = "" if found["text"].strip("`") == meant else f" (`{meant}`)"
        return f"{found['text']}{named}"

    return _LINK.sub(link, markdown)
