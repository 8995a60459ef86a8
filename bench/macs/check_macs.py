#!/usr/bin/env python3
"""Compares the MACs pare counts with those of the architecture zoo.

    PARE_BENCH_DATA=../shared/bench-data python3 bench/macs/check_macs.py [--pare PATH] [NAME ...]

Prints name, our GMAC, the table's, the difference, and the reason where one is documented. Exits 1
for a difference without one. Needs the Python packages onnx and numpy: the zoo ships skeletons
without weights, which its own zoo_fill.py makes whole, one at a time, in a temporary folder.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

# The table prints three decimals of a GMAC.
TOLERANCE = 0.0006
ROOT = pathlib.Path(__file__).resolve().parents[2]
# Differences docs/cost.md explains: architecture prefix -> reason.
EXPLAINED = {
    "swin": "the table leaves window attention out (projections and products)",
}


def read_table(path):
    """{architecture: GMAC} of the lines that were exported."""
    table = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) > 2 and float(words[2]) > 0:
            table[words[0]] = float(words[2])
    return table


def count(pare, zoo, skeleton):
    """GMAC of one skeleton; raises CalledProcessError with pare's sentence on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, zoo / "zoo_fill.py", folder, skeleton],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        model = next(pathlib.Path(folder).glob("*.onnx"))
        output = subprocess.run(
            [pare, "inspect", model, "--json"], check=True, stdout=subprocess.PIPE
        ).stdout
    totals = json.loads(output)
    return totals["totals"]["macs"] / 1e9, totals["totals"]["parameters"], totals["uncosted"]


def reason_for(name):
    return next((text for prefix, text in EXPLAINED.items() if name.startswith(prefix)), "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("names", nargs="*", help="file names begin with one of these")
    arguments = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    zoo = data / "zoo"
    table = read_table(zoo / "table.txt")
    unexplained = 0
    print(f"{'model':44} {'ours':>9} {'table':>9} {'diff':>8}  parameters  remark")
    for skeleton in sorted(zoo.glob("*.skel.onnx")):
        name = skeleton.name.removesuffix(".skel.onnx")
        architecture = name.rsplit("_op", 1)[0]
        if arguments.names and not name.startswith(tuple(arguments.names)):
            continue
        expected = table[architecture.removesuffix("_bn")]
        try:
            ours, parameters, uncosted = count(arguments.pare, zoo, skeleton)
        except subprocess.CalledProcessError:
            print(f"{name:44} {'failed':>9}")
            unexplained += 1
            continue
        difference = ours - expected
        remark = ""
        if abs(difference) > TOLERANCE:
            remark = reason_for(architecture)
            unexplained += not remark
            remark = remark or "UNEXPLAINED"
        if uncosted:
            remark += f" ({len(uncosted)} nodes not counted)"
        print(f"{name:44} {ours:9.3f} {expected:9.3f} {difference:+8.3f}  {parameters:10}  {remark}", flush=True)
    print("all explained" if unexplained == 0 else f"{unexplained} not explained")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
