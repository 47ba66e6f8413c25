"""Asks the Python Package Index whether the packages that users install with multiworker have known vulnerabilities.

    python etc/audit.py

Exit code 1 if one has. Without an answer it says so in one line and exits 0: no network is no finding.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

EXTRAS = ("", "cli", "embedded")
"""What users can ask for; the tools of developers are not shipped."""
PATIENCE = 180.0
"""Seconds for the whole audit."""


def shipped(name: str = "multiworker", extras: tuple[str, ...] = EXTRAS) -> dict[str, str]:
    """Return what is installed of a package's dependencies, and of theirs: name -> version."""
    found: dict[str, str] = {}
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            try:
                found[requirement.name] = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                continue  # of an extra that is not installed here
            found |= shipped(requirement.name, ("", *requirement.extras))
    return found


def ask(packages: dict[str, str]) -> list[dict[str, Any]]:
    """Have pip-audit look the packages up; empty if it could not."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in packages.items())
        file.flush()
        options = ("--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", "--requirement", file.name)
        try:
            result = subprocess.run(
                [sys.executable, "-m", "pip_audit", *options], capture_output=True, timeout=PATIENCE, check=False
            )
            answer: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"]
        except (subprocess.TimeoutExpired, ValueError):
            return []
    return answer


def main() -> int:
    """Audit, say the result, and return the exit code."""
    packages = shipped()
    answered = [one for one in ask(packages) if "vulns" in one]
    bad = [one for one in answered if one["vulns"]]
    for one in bad:
        for flaw in one["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
            text = re.sub(r"\s+", " ", flaw["description"])[:100]
            print(f"audit: {one['name']} {one['version']}: {flaw['id']}, fixed in {fixed}: {text}")
    if len(answered) < len(packages):
        print(f"audit: no answer about {len(packages) - len(answered)} of {len(packages)} packages: they are unaudited")
    else:
        print(f"audit: {len(packages)} packages, {len(bad)} of them with known vulnerabilities")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
