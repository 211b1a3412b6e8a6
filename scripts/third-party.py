#!/usr/bin/env python3
"""Prints the licences and notices of the libraries that are part of the program.

The list is that of the lock file, without what only tests and build scripts use. Needs no network
once the libraries have been fetched.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")


def metadata():
    cargo = os.environ.get("CARGO", "cargo")
    host = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.split()[1] for line in host.splitlines() if line.startswith("host:"))
    command = [cargo, "metadata", "--locked", "--format-version", "1", "--filter-platform", host]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def linked(data):
    """Ids of the packages that are reached without a dev or build dependency."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    todo, seen = [data["resolve"]["root"]], set()
    while todo:
        package = todo.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    return seen


def notices(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.lower().startswith(NAMES):
            yield path.read_text(encoding="utf-8", errors="replace").strip()


def main():
    data = metadata()
    wanted = linked(data)
    packages = [p for p in data["packages"] if p["id"] in wanted and p["source"]]
    packages.sort(key=lambda package: (package["name"], package["version"]))
    texts = {}
    print("Libraries that are part of gossipper, with the licence that each is under. The texts\n"
          "follow, each once, by the number in brackets.\n")
    for package in packages:
        numbers = []
        for text in notices(package):
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            number, _ = texts.setdefault(key, (len(texts) + 1, text))
            numbers.append(str(number))
        licence = package["license"] or "see the text"
        brackets = f" [{', '.join(numbers)}]" if numbers else ""
        print(f"{package['name']} {package['version']}: {licence}{brackets}")
    for number, text in texts.values():
        print(f"\n{'-' * 78}\n[{number}]\n\n{text}")
    return 0 if packages else 1


if __name__ == "__main__":
    sys.exit(main())
