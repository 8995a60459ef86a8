#!/usr/bin/env python3
"""Prunes every architecture of the zoo by a share of its MACs and checks what comes out.

    PARE_BENCH_DATA=../shared/bench-data python3 bench/pruning/zoo.py RESULTS.jsonl
        [--pare PATH] [--macs -30%] [--options 'method: l2, refit: false'] [--data SPEC] [NAME ...]
    python3 bench/pruning/zoo.py RESULTS.jsonl --table > bench/pruning/ZOO.md

The zoo ships skeletons without weights; its own zoo_fill.py makes them whole, one at a time, in a
temporary folder. For each: `pare explain` says what is pinned, `pare optimize` prunes (and proves
that the pruned network computes what the masked original does), the result is checked by onnx, run
by ONNX Runtime, and its MACs are held to the budget: at most one per cent below it, never above.
One JSON line a model is appended to RESULTS.jsonl; models that have one are skipped, so a run goes
on where it was stopped. --table prints the table of a file of results. Exits 1 when a model fails.
Needs the Python packages onnx, onnxruntime and numpy.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEAR = 0.01  # Largest share of the original's MACs a result may lie below its budget.
TIME_LIMIT = 3600  # Of one command [s].


def run(*arguments):
    return subprocess.run([str(x) for x in arguments], check=True, capture_output=True, text=True,
                          timeout=TIME_LIMIT)


def fill(zoo, skeleton, folder):
    run(sys.executable, zoo / "zoo_fill.py", folder, skeleton)
    return pathlib.Path(folder) / skeleton.name.replace(".skel", "")


def run_in_onnx_runtime(model):
    """Raises when it does not run, or an output is not finite."""
    import numpy  # pylint: disable=import-outside-toplevel
    import onnxruntime  # pylint: disable=import-outside-toplevel

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    generator = numpy.random.default_rng(0)
    feed = {}
    for value in session.get_inputs():
        shape = [extent if isinstance(extent, int) else 1 for extent in value.shape]
        feed[value.name] = generator.uniform(-1, 1, shape).astype(numpy.float32)
    for output in session.run(None, feed):
        if not numpy.isfinite(output).all():
            raise ValueError("an output is not finite")


def pinned_reasons(explained):
    """{reason without names: layers}, the classifier's own outputs among them."""
    reasons = {}
    for entry in explained["pinned"]:
        reason = re.sub(r"'[^']*'", "...", entry["reason"])
        reasons.setdefault(reason, []).append(entry["name"])
    return {reason: len(set(names)) for reason, names in reasons.items()}


def examine(pare, model, arguments):
    """What one model gives."""
    import onnx  # pylint: disable=import-outside-toplevel

    explained = json.loads(run(pare, "explain", model, "--json").stdout)
    out, report = model.with_suffix(".pruned.onnx"), model.with_suffix(".json")
    begun = time.time()
    data = ["--data", arguments.data] if arguments.data else []
    run(pare, "-q", "optimize", model, "-o", out, "--report", report, "--pass",
        f"prune-channels: {{macs: {arguments.macs}, {arguments.options}}}", *data)
    result = {"seconds": round(time.time() - begun, 1), "sets": len(explained["sets"]),
              "pinned": pinned_reasons(explained)}
    story = json.loads(report.read_text())
    result["difference"] = story["passes"][-1]["stats"]["difference to masked original"]
    result["macs"] = story["totals_before"]["macs"]
    result["left"] = story["totals_after"]["macs"]
    result["parameters"] = story["totals_before"]["parameters"]
    result["parameters_left"] = story["totals_after"]["parameters"]
    onnx.checker.check_model(str(out))
    run_in_onnx_runtime(out)
    return result


def verdict(result, share):
    """"ok", or what is wrong in a few words."""
    if "error" in result:
        return result["error"]
    left = result["left"] / result["macs"]
    if left > 1 - share:
        return f"{100 * left:.2f} % of the MACs are left, over the budget"
    if left < 1 - share - NEAR:
        return f"{100 * left:.2f} % of the MACs are left, too far below the budget"
    return "ok"


def sweep(arguments, path):
    zoo = pathlib.Path(os.environ["PARE_BENCH_DATA"]) / "zoo"
    done = {json.loads(line)["name"] for line in path.read_text().splitlines()} if path.exists() else ()
    skeletons = sorted(zoo.glob("*.skel.onnx"), key=lambda file: file.name)
    for skeleton in skeletons:
        name = skeleton.name.replace(".skel.onnx", "")
        if name in done or (arguments.names and name not in arguments.names):
            continue
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            try:
                result = examine(arguments.pare, fill(zoo, skeleton, folder), arguments)
            except subprocess.CalledProcessError as error:
                lines = (error.stderr or "").strip().splitlines()
                result = {"error": lines[-1].replace(folder + "/", "") if lines else str(error)}
            except Exception as error:  # pylint: disable=broad-exception-caught
                result = {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        result = {"name": name, "budget": arguments.macs, "options": arguments.options, **result}
        with path.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(name, verdict(result, share_of(result["budget"])), flush=True)


def share_of(budget):
    return -float(budget.rstrip("%")) / 100


def read(path):
    results = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(results, key=lambda result: result["name"])


def table(results):
    """Markdown."""
    good = sum(verdict(x, share_of(x["budget"])) == "ok" for x in results)
    lines = ["# The architecture zoo, pruned", "",
             "Written by `bench/pruning/zoo.py`; its first lines say what is checked and how to repeat "
             "it.", "", f"{good} of {len(results)} architectures pass: `prune-channels: "
             f"{{macs: {results[0]['budget']}, {results[0]['options']}}}` gives a valid model that "
             "computes what the masked original does (to the given share of",
             "its largest output; weights are random, which amplifies rounding in some), runs in ONNX Runtime and lies within 1 % of "
             "the budget from below.", "",
             "| architecture | GMAC | left | parameters left | sets | layers pinned | difference | "
             "time | |", "|---|---|---|---|---|---|---|---|---|"]
    for x in results:
        state = verdict(x, share_of(x["budget"]))
        if "error" in x:
            lines.append(f"| {x['name']} | | | | | | | | {state} |")
            continue
        lines.append(f"| {x['name']} | {x['macs'] / 1e9:.3f} | {100 * x['left'] / x['macs']:.2f} % | "
                     f"{100 * x['parameters_left'] / x['parameters']:.1f} % | {x['sets']} | "
                     f"{sum(x['pinned'].values())} | {x['difference']:.1e} | {x['seconds']:.0f} s | "
                     f"{state} |")
    reasons = {}
    for x in results:
        for reason, count in x.get("pinned", {}).items():
            reasons.setdefault(reason, []).append((x["name"], count))
    lines += ["", "## What is pinned, and why", "", "Names are left out; `pare explain` gives them.",
              "", "| why | layers | in |", "|---|---|---|"]
    for reason, places in sorted(reasons.items(), key=lambda item: -len(item[1])):
        names = [name for name, _ in places]
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        lines.append(f"| {reason} | {sum(count for _, count in places)} | {shown} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--macs", default="-30%")
    parser.add_argument("--options", default="method: l2, refit: false")
    parser.add_argument("--data", help="samples, as --data of pare takes them")
    parser.add_argument("--scratch", help="folder for the models")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("names", nargs="*", help="architectures, as in the table")
    arguments = parser.parse_intermixed_args()
    if arguments.table:
        print(table(read(arguments.results)), end="")
        return 0
    sweep(arguments, arguments.results)
    return any(verdict(x, share_of(x["budget"])) != "ok" for x in read(arguments.results))


if __name__ == "__main__":
    sys.exit(main())
