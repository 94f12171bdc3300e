"""Print the installed versions as a constraints file, without local version parts such as `+cpu`."""

from __future__ import annotations

from importlib.metadata import distributions

LEFT_OUT = {"posestudy", "pip", "opencv-python"}


def pins() -> list[str]:
    """Sorted `name==version` lines of everything installed here."""
    found = {d.metadata["Name"]: d.version.split("+")[0] for d in distributions()}
    return sorted((f"{n}=={v}" for n, v in found.items() if n not in LEFT_OUT), key=str.lower)


if __name__ == "__main__":
    print("# Every version `make setup` installs. Written by `make constraints`.")
    print("\n".join(pins()))
