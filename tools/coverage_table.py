#!/usr/bin/env python3
"""Prints what gcc's counters say about the loaders: called by tools/coverage.

    coverage_table.py [--missed] BUILD_FOLDER
"""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lint"))
from source_files import ROOT, loaders  # noqa: E402

GOAL_LINES, GOAL_BRANCHES = 95.0, 90.0


def counters(folder):
    """{path of a source: path of its counters, which exist when a test has run it}."""
    found = {}
    for place, _, names in os.walk(os.path.join(folder, "CMakeFiles")):
        for name in names:
            if name.endswith(".c.gcno"):
                path = os.path.join(place, name).removesuffix(".gcno")
                found[path.split(".dir/", 1)[1]] = path + ".gcda"
    return found


def lines_of(path, gcda):
    """gcov's lines of one source: {number: (count, [count of each branch])}."""
    run = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", gcda], cwd=ROOT,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    lines = {}
    for document in run.stdout.decode("utf-8").splitlines():
        for file in json.loads(document)["files"] if document.strip() else []:
            if os.path.relpath(os.path.join(ROOT, file["file"]), ROOT) != path:
                continue
            for line in file["lines"]:
                count, branches = lines.get(line["line_number"], (0, []))
                lines[line["line_number"]] = (count + line["count"],
                                              branches + [branch["count"] for branch in line["branches"]])
    return lines


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def print_row(name, row):
    lines, reached, branches, taken = row
    print(f"{name:40} {reached:5} of {lines:5} {percent(reached, lines):6.1f} %  "
          f"{taken:5} of {branches:5} {percent(taken, branches):6.1f} %")


def print_missed(path, lines):
    for number, (count, branches) in sorted(lines.items()):
        if count == 0:
            print(f"{path}:{number}: not reached")
        elif 0 in branches:
            print(f"{path}:{number}: {branches.count(0)} of {len(branches)} branches not taken")


def main():
    arguments = [a for a in sys.argv[1:] if a != "--missed"]
    counted, total, reports = counters(arguments[0]), [0, 0, 0, 0], []
    print(f"{'':40} {'lines reached':>23}  {'branches taken':>23}")
    for path in loaders():
        if path not in counted:
            sys.exit(f"{path}: is not built")
        lines = lines_of(path, counted[path])
        branches = [count for _, each in lines.values() for count in each]
        row = [len(lines), sum(count > 0 for count, _ in lines.values()), len(branches), sum(c > 0 for c in branches)]
        print_row(path, row)
        total = [a + b for a, b in zip(total, row)]
        reports.append((path, lines))
    print_row("all loaders", total)
    if "--missed" in sys.argv:
        for path, lines in reports:
            print_missed(path, lines)
    if percent(total[1], total[0]) < GOAL_LINES or percent(total[3], total[2]) < GOAL_BRANCHES:
        sys.exit(f"below the goal of {GOAL_LINES} % of the lines and {GOAL_BRANCHES} % of the branches")


main()
