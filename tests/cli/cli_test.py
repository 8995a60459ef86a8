#!/usr/bin/env python3
"""Runs the built program as a user does: wrong usages, exit codes, --help, JSON contracts.

    cli_test.py PARE [--update-golden]

Standard library only. A wrong usage must end in exactly one sentence on stderr, with the right exit
code, and must leave no file behind. --update-golden rewrites tests/golden/help and usage_errors.txt.
"""

import fcntl
import json
import os
import pathlib
import pty
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

import tiny_onnx as tiny

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden" / "help"
ERRORS = HERE.parent / "golden" / "usage_errors.txt"
PARE = None
UPDATE = False
COMMANDS = ["optimize", "inspect", "explain", "sensitivity", "evaluate", "diagnose", "verify",
            "compare", "bench", "run", "passes", "pipeline", "ops", "completions", "man"]
USAGE, INPUT, UNSUPPORTED = 2, 3, 4


def run(folder, *arguments):
    return subprocess.run(
        [PARE, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


def make_files(folder):
    """What the tests read: models, data, pipelines; returns the names."""
    mystery = tiny.model(
        [tiny.node("Mystery", ["x"], ["y"], "odd", "acme")],
        [tiny.value_info("x", [1, 4])],
        [tiny.value_info("y", [1, 4])],
        domains=["acme"],
    )
    clash = tiny.model(
        [tiny.node("MatMul", ["x", "w"], ["y"], "dense")],
        [tiny.value_info("x", [1, 4])],
        [tiny.value_info("y", [1, 3])],
        [tiny.tensor("w", [5, 3], [0.0] * 15)],
    )
    files = {
        "model.onnx": tiny.classifier(),
        "mlp.onnx": tiny.mlp(),
        "mystery.onnx": mystery,
        "clash.onnx": clash,
        "cut.onnx": tiny.classifier()[:60],
        "text.onnx": b"this is no model\n" * 10,
        "empty.onnx": b"",
        "x.npy": tiny.eye(6),
        "x5.npy": tiny.npy("f", [6, 5], [0.0] * 30),
        "y.npy": tiny.npy("q", [6], [0, 1, 2, 0, 0, 1]),
        "y_wrong.npy": tiny.npy("q", [6], [1, 1, 2, 0, 0, 1]),
        "y5.npy": tiny.npy("q", [5], [0, 1, 2, 0, 0]),
        "y_big.npy": tiny.npy("q", [6], [0, 1, 2, 0, 0, 7]),
        "cut.npy": tiny.eye(6)[:-4],
        "clean.yaml": b"passes:\n  - fold-constants\n  - remove-dead-nodes\n",
        "unknown.yaml": b"passes:\n  - fold-constant\n",
        "option.yaml": b"passes:\n  - fold-constants: {fast: true}\n",
        "broken.yaml": b"passes: [fold-constants\n",
        "table.yaml": b"name: mine\n",
        "report.json": b"{}\n",
        "labels.txt": b"ant\nbee\ncat\n",
        "mine.txt": b"cat\nant\n",
        "gap.txt": b"ant\n\ncat\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    return sorted(os.listdir(folder))


OPTIMIZE = ["optimize", "model.onnx", "-o", "out.onnx"]
EVALUATE = ["evaluate", "model.onnx"]

# Arguments, exit code, the sentence after "pare: error: " ("..." stands for anything).
WRONG = [
    ([], USAGE, "A subcommand is required, see 'pare --help'"),
    (["optimise"], USAGE, "unknown command 'optimise', did you mean 'optimize'?"),
    (["frobnicate"], USAGE, "unknown command 'frobnicate', expected one of optimize, inspect, "
     "explain, sensitivity, evaluate, diagnose, verify, compare, bench, run, passes, pipeline, ops, "
     "completions, man, see 'pare --help'"),
    (["inspect"], USAGE, "inspect: MODEL is required, see 'pare inspect --help'"),
    (["inspect", "model.onnx", "--jsn"], USAGE, "inspect: unknown option '--jsn', did you mean '--json'?"),
    (["pipeline", "check", "clean.yaml", "--sett=seed=7"], USAGE,
     "pipeline: unknown option '--sett', did you mean '--set'?"),
    (["inspect", "model.onnx", "--xyzzyplugh"], USAGE,
     "inspect: The following argument was not expected: --xyzzyplugh, see 'pare inspect --help'"),
    (["inspect", "missing.onnx"], INPUT, "missing.onnx: ..."),
    (["inspect", "folder"], INPUT, "folder: ..."),
    (["inspect", "cut.onnx"], INPUT, "cut.onnx: ..."),
    (["inspect", "text.onnx"], INPUT, "text.onnx: ..."),
    (["inspect", "empty.onnx"], INPUT, "empty.onnx: ..."),
    (["inspect", "clash.onnx"], INPUT, "clash.onnx: node 'dense' (MatMul): ..."),
    (["inspect", "model.onnx", "--bind", "K=2"], USAGE,
     "--bind K=2: the inputs of model.onnx have no symbolic dimension of that name, expected one "
     "of N"),
    (["inspect", "model.onnx", "--bind", "N=0"], USAGE,
     "--bind: 'N=0' is no NAME=EXTENT, as in N=1"),
    (["inspect", "model.onnx", "--convention", "joule"], USAGE,
     "--convention: 'joule' is unknown, expected mac or article"),
    (["inspect", "model.onnx", "--fps", "0"], USAGE,
     "--fps: expected a number of inferences per second above 0"),
    (["inspect", "model.onnx", "--precision", "int99"], USAGE,
     "--precision: 'int99' is unknown, expected fp32, fp16, int2 to int32, or binary"),
    (["inspect", "model.onnx", "--buffer", "lots"], USAGE,
     "--buffer: 'lots' is no size, expected bytes as in 4096, 512KiB or 4MiB"),
    (["inspect", "model.onnx", "--energy-table", "missing.yaml"], USAGE,
     "missing.yaml: energy table cannot be read"),
    (["inspect", "model.onnx", "--energy-table", "table.yaml"], USAGE,
     "table.yaml:1: energy table: the file misses the key 'source'"),
    (["inspect", "model.onnx", "--device", "zcu103"], USAGE,
     "--device: device 'zcu103' is unknown, expected a YAML file or one of zcu102, ..."),
    (["inspect", "model.onnx", "--device", "missing.yaml"], USAGE,
     "--device: missing.yaml: device profile cannot be read"),
    (["optimize", "model.onnx", "-p", "clean.yaml"], USAGE,
     "optimize: --output is required, see 'pare optimize --help'"),
    (OPTIMIZE, USAGE, "optimize: expected a pipeline (-p), passes (--pass) or --keep-classes"),
    (["optimize", "model.onnx", "-o", "model.onnx", "-p", "clean.yaml"], USAGE,
     "-o model.onnx: this is also the file model.onnx, expected another one"),
    (["optimize", "model.onnx", "-o", "./folder/../model.onnx", "-p", "clean.yaml"], USAGE,
     "-o ./folder/../model.onnx: this is also the file model.onnx, expected another one"),
    (["optimize", "model.onnx", "-o", "nowhere/out.onnx", "-p", "clean.yaml"], USAGE,
     "-o nowhere/out.onnx: the folder nowhere does not exist"),
    (["optimize", "model.onnx", "-o", "folder", "-p", "clean.yaml"], USAGE,
     "-o folder: this is a folder, expected a file name"),
    (OPTIMIZE + ["-p", "clean.yaml", "--report", "out.onnx"], USAGE,
     "--report out.onnx: this is also the file out.onnx, expected another one"),
    (OPTIMIZE + ["-p", "clean.yaml", "--report", "nowhere/r.json"], USAGE,
     "--report nowhere/r.json: the folder nowhere does not exist"),
    (OPTIMIZE + ["-p", "missing.yaml"], USAGE, "missing.yaml: cannot be read, expected a pipeline file "
     "or one of classes, classifier, clean, cpu, detector, dpu, int8, prune, prune-int8"),
    (OPTIMIZE + ["-p", "brokn.yaml"], USAGE,
     "brokn.yaml: cannot be read, did you mean 'broken.yaml'?"),
    (OPTIMIZE + ["-p", "clasifier"], USAGE, "clasifier: cannot be read, did you mean 'classifier'?"),
    (OPTIMIZE + ["-p", "pipelines/prun-int8.yaml"], USAGE,
     "pipelines/prun-int8.yaml: cannot be read, did you mean 'prune-int8'?"),
    (OPTIMIZE + ["-p", "folder"], USAGE, "folder: cannot be read, expected a pipeline file"),
    (OPTIMIZE + ["-p", "broken.yaml"], USAGE, "broken.yaml..."),
    (OPTIMIZE + ["-p", "unknown.yaml"], USAGE,
     "unknown.yaml:2: unknown pass 'fold-constant', did you mean 'fold-constants'?..."),
    (OPTIMIZE + ["-p", "option.yaml"], USAGE, "option.yaml:2: fold-constants: ...'fast'..."),
    (OPTIMIZE + ["--pass", "nonsense"], USAGE, "--pass:2: unknown pass 'nonsense'..."),
    (["optimize", "missing.onnx", "-o", "out.onnx", "-p", "clean.yaml"], INPUT,
     "missing.onnx: ..."),
    (OPTIMIZE + ["-p", "clean.yaml", "--data", "missing.npy"], INPUT, "missing.npy: ..."),
    (OPTIMIZE + ["-p", "clean.yaml", "--data", "x5.npy"], INPUT, "x5.npy: ..."),
    (OPTIMIZE + ["-p", "clean.yaml", "--data", "cut.npy"], INPUT, "cut.npy: ..."),
    (OPTIMIZE + ["-p", "clean.yaml", "--data", "x.npy", "--mean", "0,a"], USAGE,
     "command line: mean: 'a' is no number, expected a list like 0.5,0.5,0.5"),
    (OPTIMIZE + ["-p", "clean.yaml", "--data", "x.npy", "--std", "0"], USAGE,
     "command line: std: 0 cannot be divided by"),
    (OPTIMIZE + ["-p", "clean.yaml", "--threads", "-1"], USAGE,
     "--threads: expected a number from 1 to 1024"),
    (["completions", "tcsh"], USAGE,
     "completions: unknown shell 'tcsh', expected one of bash, zsh, fish"),
    (["explain", "mlp.onnx", "--group", "middle"], USAGE,
     "--group: no layer's name matches 'middle', expected one such as up"),
    (["explain", "mlp.onnx", "--macs", "lots"], USAGE,
     "--macs: 'lots' is no budget, which is a share to remove such as -40% or an amount to keep "
     "such as 75M"),
    (["explain", "mlp.onnx", "--macs", "-9%", "--params", "-9%"], USAGE,
     "explain: give either --macs or --params, not both"),
    (["explain", "mlp.onnx", "--data", "x.npy"], USAGE,
     "explain: --data measures what a budget costs, expected --macs, --params or a prune-channels "
     "pass beside it"),
    (["explain", "mlp.onnx", "--pass", "prune-channels: {limits: [up]}"], USAGE,
     "--pass:2: prune-channels: 'up' is no limit, which is a pattern and the least to keep, such as "
     "conv1=50% or 'layer4.*=16'"),
    (["explain", "mlp.onnx", "--pass", "prune-channels: {multiple: zcu999}"], USAGE,
     "--pass:2: prune-channels: device 'zcu999' is unknown, expected a YAML file or one of ..."),
    (["explain", "mlp.onnx", "--pass", "prune-channels: {multiple: 0}"], USAGE,
     "--pass:2: prune-channels: '0' is neither a whole number from 1 to 4096 nor a device"),
    (["optimize", "mlp.onnx", "-o", "out.onnx", "--pass", "prune-channels", "--no-data", "--data",
      "x.npy"], USAGE, "optimize: --data excludes --no-data, see 'pare optimize --help'"),
    (["explain", "mlp.onnx", "--pass", "prune-channels: {exclude: [upp]}"], USAGE,
     "exclude: no layer's name or operator matches 'upp'"),
    (["optimize", "mlp.onnx", "-o", "out.onnx", "--pass", "prune-channels: {max-drop: 2}"], USAGE,
     "--pass:2: prune-channels: '2' is no drop, which is a share of the samples such as 0.5%"),
    (["optimize", "mlp.onnx", "-o", "out.onnx", "--pass", "prune-channels: {max-drop: 2%}"], USAGE,
     "pass 'prune-channels' needs samples to calibrate on, but no data is given: --data takes a folder "
     "or archive of images, .npy, .npz or .pb"),
    (["sensitivity", "mlp.onnx", "--data", "x.npy"], USAGE,
     "sensitivity: --output is required, see 'pare sensitivity --help'"),
    (["sensitivity", "mlp.onnx", "-o", "s.sens"], USAGE,
     "sensitivity: expected samples to measure with (--data)"),
    (["sensitivity", "-o", "s.sens"], USAGE,
     "sensitivity: expected a model, or --merge with files"),
    (["sensitivity", "mlp.onnx", "-o", "s.sens", "--data", "x.npy", "--shard", "3/2"], USAGE,
     "sensitivity: --shard: '3/2' is no part of a whole, as in 2/8"),
    (["sensitivity", "mlp.onnx", "-o", "mlp.onnx", "--data", "x.npy"], USAGE,
     "-o mlp.onnx: this is also the file mlp.onnx, expected another one"),
    (["sensitivity", "mlp.onnx", "-o", "report.json", "--data", "x.npy"], INPUT,
     "report.json: is no sensitivity file, which begins with ..."),
    (["sensitivity", "-o", "s.sens", "--merge", "missing.sens"], INPUT, "missing.sens: ..."),
    (["sensitivity", "-o", "nowhere/s.sens", "--merge", "report.json"], USAGE,
     "-o nowhere/s.sens: the folder nowhere does not exist"),
    (["optimize", "mlp.onnx", "-o", "out.onnx", "--data", "x.npy", "--pass",
      "prune-channels: {sensitivity: nowhere/s.sens}"], USAGE,
     "pass 'prune-channels': ...nowhere/s.sens..."),
    (["explain", "mlp.onnx", "--macs", "-99%"], UNSUPPORTED, "the network has 112 MACs ..."),
    (EVALUATE, USAGE, "evaluate: --data is required, see 'pare evaluate --help'"),
    (EVALUATE + ["--data", "x.npy"], USAGE, 
     "evaluate: expected --labels, --against, or images in folders of their class"),
    (EVALUATE + ["--data", "x.npy", "--labels", "y5.npy"], INPUT,
     "y5.npy: 5 labels for the 6 samples of x.npy"),
    (EVALUATE + ["--data", "x.npy", "--labels", "x.npy"], INPUT,
     "x.npy: holds f32[6,4], expected a list of integer class labels"),
    (EVALUATE + ["--data", "x.npy", "--labels", "y_big.npy"], INPUT,
     "model.onnx: label 7 of sample 5 is no class of an output of 3 classes (--label-offset?)"),
    (EVALUATE + ["--data", "x5.npy", "--labels", "y.npy"], INPUT, "x5.npy: ..."),
    (["evaluate", "mystery.onnx", "--data", "x.npy", "--labels", "y.npy"], UNSUPPORTED,
     "mystery.onnx: ...'odd' (Mystery)..."),
    (["compare", "model.onnx", "report.json"], INPUT,
     "report.json: no report of this tool: neither 'totals_after' nor 'totals'"),
    (["run", "model.onnx"], USAGE, "no tensor was given for input 'x', f32[1,4]"),
    (["run", "model.onnx", "x5.npy"], INPUT,
     "x5.npy: holds f32[6,5], but input 'x' is f32[1,4]"),
    (["run", "model.onnx", "x.npy", "y.npy"], USAGE, "y.npy: the model has only 1 inputs"),
    (["run", "model.onnx", "--input", "z=x.npy", "x.npy"], USAGE,
     "x.npy: the model has no input named 'z'"),
    (["run", "model.onnx", "x.npy", "--output", "q=o.npy"], USAGE,
     "--output: the model has no output named 'q'"),
    (["run", "model.onnx", "x.npy", "-o", "nowhere/deep"], USAGE,
     "--output-dir nowhere/deep: no folder can be made there, No such file or directory"),
    (["run", "model.onnx", "clean.yaml"], USAGE,
     "clean.yaml: expected a .npy, .npz or .pb file"),
]


KEEP = [*OPTIMIZE, "--labels", "labels.txt", "--keep-classes"]
# What may be wrong with a request for classes.
REQUESTS = [
    ([*KEEP, "bees"], 2, "...no class is called 'bees', did you mean 'bee'?"),
    ([*KEEP, "dog"], 2, "...no class is called 'dog'..."),
    ([*KEEP, "ant,0"], 2, "...class 0 stands twice, as 'ant' and '0'"),
    ([*KEEP, "ant,"], 2, "...'' is no class, expected a label or an index"),
    ([*KEEP, "2-1"], 2, "...'2-1' is a range that runs backwards"),
    ([*KEEP, "1,3"], 2, "...class 3 is not there, the network has 3 classes, counted from 0"),
    ([*KEEP, "ant", "--class-output", "z"], 2, "...the model has no output 'z'; it has 'y'"),
    ([*KEEP, "ant", "--class-axis", "2"], 2, "...axis 2 is outside of 'y' [1,3]"),
    ([*KEEP, "ant", "--classes", "2"], 2, "...no axis of the outputs holds 2 classes..."),
    ([*KEEP, "@nowhere.txt"], 2, "...nowhere.txt: cannot be read, expected a text file of labels"),
    ([*OPTIMIZE, "--keep-classes", "ant", "--labels", "gap.txt"], 2,
     "...gap.txt: line 2 is empty, expected one label a line"),
    ([*OPTIMIZE, "--keep-classes", "ant"], 2, "...'ant' is no index and no range...give labels..."),
    ([*OPTIMIZE, "--pass", "reduce-classes: {keep: []}"], 2, "...a list of classes to keep is needed"),
    ([*OPTIMIZE, "--pass", "reduce-classes"], 2, "...a list of classes to keep is needed"),
    ([*OPTIMIZE, "-p", "clean.yaml", "--labels", "labels.txt"], 2, "--keep-classes is needed..."),
    (["optimize", "mystery.onnx", "-o", "out.onnx", "--keep-classes", "0"], 4,
     "...class 1 of axis 1 of 'y' [1,4] cannot be removed, because node 'odd' (Mystery) fixes..."),
    ([*KEEP, "ant", "--labels-out", "labels.txt"], 2, "--labels-out labels.txt: this is also..."),
    ([*KEEP, "ant", "--others", "keep"], 2, "...others is 'keep', expected one of drop, merge"),
]


def matches(sentence, pattern):
    """Whether the pieces of `pattern` between "..." follow each other in `sentence`."""
    pieces = pattern.split("...")
    if not sentence.startswith(pieces[0]) or not sentence.endswith(pieces[-1]):
        return False
    at = 0
    for piece in pieces:
        at = sentence.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return len(pieces) > 1 or sentence == pattern


class Cli(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.files = make_files(self.folder)

    def good(self, *arguments):
        result = run(self.folder, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_every_wrong_usage_is_one_sentence_with_its_exit_code_and_leaves_nothing(self):
        recorded = []
        for arguments, code, pattern in WRONG + REQUESTS:
            with self.subTest(arguments=" ".join(arguments)):
                result = run(self.folder, *arguments)
                lines = result.stderr.splitlines()
                self.assertEqual(len(lines), 1, result.stderr)
                prefix = "pare: error: "
                self.assertTrue(lines[0].startswith(prefix), lines[0])
                sentence = lines[0].removeprefix(prefix)
                self.assertTrue(matches(sentence, pattern), f"{sentence!r} is not {pattern!r}")
                self.assertEqual(result.returncode, code)
                self.assertEqual(result.stdout, "")
                self.assertEqual(sorted(os.listdir(self.folder)), self.files)
                recorded.append(f"{shlex.join(['pare', *arguments])}\n    {code}: {sentence}\n")
        if UPDATE:
            ERRORS.write_text("".join(recorded))
        self.assertEqual("".join(recorded), ERRORS.read_text(), "rewrite with --update-golden")

    def test_help_of_every_command_has_an_example_and_is_as_recorded(self):
        for command in ["", *COMMANDS]:
            with self.subTest(command=command):
                text = self.good(*[command] * bool(command), "--help")
                self.assertTrue(not command or "Example" in text)
                golden = GOLDEN / f"{command or 'pare'}.txt"
                if UPDATE:
                    golden.write_text(text)
                self.assertEqual(text, golden.read_text(), "rewrite with --update-golden")

    def test_help_of_inner_commands_is_as_recorded(self):
        text = "".join(self.good("pipeline", inner, "--help") for inner in ("check", "show", "schema"))
        golden = GOLDEN / "pipeline_inner.txt"
        if UPDATE:
            golden.write_text(text)
        self.assertEqual(text, golden.read_text(), "rewrite with --update-golden")

    def test_every_command_with_a_result_prints_json(self):
        self.good("optimize", "mlp.onnx", "-o", "small.onnx", "--data", "x.npy", "--pass", "quantize-int8")
        self.good("optimize", "mlp.onnx", "-o", "dpu.onnx", "--data", "x.npy", "--pass", "quantize-int8: {profile: dpu}")
        on_data = ["mlp.onnx", "--data", "x.npy", "--json"]
        for arguments in [
            ["optimize", *on_data, "-o", "o.onnx", "--pass", "fold-constants"],
            ["inspect", "mlp.onnx", "--json"], ["inspect", "mlp.onnx", "--plan", "--json"],
            ["explain", "mlp.onnx", "--json"], ["sensitivity", *on_data, "-o", "a.sens"],
            ["sensitivity", "--merge", "a.sens", "-o", "b.sens", "--json"],
            ["evaluate", *on_data, "--labels", "y.npy"],
            ["diagnose", "mlp.onnx", "small.onnx", "--data", "x.npy", "--json"], ["verify", "dpu.onnx", "--json"],
            ["compare", "mlp.onnx", "small.onnx", "--json"],
            ["bench", "mlp.onnx", "--seconds", "0.01", "--json"], ["run", "mlp.onnx", "x.npy", "--json"],
            ["passes", "--json"], ["ops", "--json"], ["pipeline", "schema"],
            ["pipeline", "check", "clean.yaml", "--json"], ["pipeline", "show", "clean.yaml", "--json"],
        ]:
            with self.subTest(arguments=" ".join(arguments)):
                self.assertTrue(json.loads(self.good(*arguments)))

    def on_terminal(self, *arguments, **environment):
        """What a terminal of 60 columns shows."""
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        names = ("NO_COLOR", "COLUMNS", "TERM")
        process = subprocess.Popen(
            [PARE, *arguments], cwd=self.folder, stdout=side, stderr=side,
            env={k: v for k, v in os.environ.items() if k not in names} | environment)
        os.close(side)
        shown = b""
        try:
            while chunk := os.read(main, 4096):
                shown += chunk
        except OSError:  # The other end is closed.
            pass
        os.close(main)
        process.wait(timeout=60)
        return shown.decode().replace("\r\n", "\n")

    def test_colour_is_for_terminals_that_want_it(self):
        wrong = ["inspect", "missing.onnx"]
        self.assertIn("\033[", self.on_terminal(*wrong, TERM="xterm"))
        for unwanted in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
            self.assertNotIn("\033[", self.on_terminal(*wrong, **unwanted))
        self.assertNotIn("\033[", run(self.folder, *wrong).stderr)

    def test_tables_fit_the_terminal_and_a_bar_shows_progress(self):
        optimize = [*OPTIMIZE, "-p", "clean.yaml", "--data", "x.npy"]
        shown = self.on_terminal(*optimize, TERM="xterm", NO_COLOR="1")
        self.assertRegex(shown, r"\[[#.]{20}\] \d+/\d+")
        def widest(text):
            return max(map(len, text.split("power at")[0].splitlines()))

        self.assertLessEqual(widest(self.on_terminal("inspect", "mlp.onnx")), 60)
        self.assertGreater(widest(self.good("inspect", "mlp.onnx")), 60)

    def test_version(self):
        self.assertRegex(self.good("--version"), r"^pare \d+\.\d+\.\d+\n.+ build, .+ \d+.*\n$")

    def test_the_manual_page_has_every_command_and_option(self):
        page = self.good("man").replace("\\-", "-")
        self.assertTrue(page.startswith(".TH PARE 1"))
        for command in COMMANDS:
            with self.subTest(command=command):
                self.assertIn(f".SS pare {command}\n", page)
                for word in self.good(command, "--help").split():
                    if word.startswith("--") and word.strip("-,").isalpha():
                        self.assertIn(word.strip(","), page)
        for line in page.splitlines():  # No text is taken for a request.
            self.assertRegex(line, r"^(\.(TH|SH|SS|TP|PP|nf|fi)\b|[^.']|\\&|$)")

    def test_inspect_json_has_the_keys_scripts_rely_on(self):
        document = json.loads(self.good("inspect", "model.onnx", "--json"))
        totals = document["totals"]
        self.assertEqual(totals["macs"], 12)
        self.assertAlmostEqual(totals["gop"], 24e-9)
        self.assertEqual(totals["parameters"], 12)
        self.assertEqual(totals["weight_bytes"], 48)
        self.assertAlmostEqual(totals["power_watts"], 1000 * totals["energy_joules"])
        self.assertEqual(document["layers"][0]["name"], "dense")
        self.assertTrue(document["layers"][1]["name"], "a node without a name gets one")
        self.assertEqual([x["op"] for x in document["layers"]], ["MatMul", "Relu"])
        self.assertEqual([x["macs"] for x in document["layers"]], [12, 0])

    def test_inspect_foresees_frames_per_second_on_a_device(self):
        document = json.loads(self.good("inspect", "model.onnx", "--device", "zu3eg", "--json"))
        device = document["device"]
        self.assertEqual(device["name"], "zu3eg")
        self.assertEqual([x["name"] for x in device["layers"]], ["dense"])
        self.assertTrue(device["reaches_rate"])
        text = self.good("inspect", "model.onnx", "--device", "zu3eg", "--fps", "1e12")
        self.assertIn("frames/s cannot be reached", text)
        self.assertIn("horowitz-45nm, convention mac, 927 KiB on-chip buffer", text)

    def test_an_unknown_operator_does_not_stop_inspect_and_is_named(self):
        document = json.loads(self.good("inspect", "mystery.onnx", "--json"))
        self.assertEqual(document["uncosted"], [{"name": "odd", "op": "Mystery"}])
        self.assertIn("1 node is not in these figures", self.good("inspect", "mystery.onnx"))

    def test_binding_a_dimension_scales_the_work(self):
        document = json.loads(self.good("inspect", "model.onnx", "--bind", "N=5", "--json"))
        self.assertEqual(document["totals"]["macs"], 60)

    def test_evaluate_measures_accuracy_and_distance(self):
        document = json.loads(
            self.good(*EVALUATE, "--data", "x.npy", "--labels", "y_wrong.npy", "--json")
        )
        self.assertEqual(document["samples"], 6)
        self.assertAlmostEqual(document["top1"], 5 / 6)
        self.assertEqual(document["top5"], 1)
        self.assertNotIn("agreement", document)
        document = json.loads(
            self.good(*EVALUATE, "--data", "x.npy", "--against", "model.onnx", "--json")
        )
        self.assertNotIn("top1", document)
        self.assertEqual(document["agreement"], 1)
        self.assertEqual(document["kl"], 0)
        self.assertIsNone(document["sqnr_db"], "infinity has no number in JSON")

    def test_evaluate_takes_preprocessing_limit_and_label_offset(self):
        document = json.loads(
            self.good(*EVALUATE, "--data", "x.npy", "--labels", "y.npy", "--scale", "2",
                      "--mean", "-0.5", "--std", "2,2,2,2", "--limit", "3", "--json")
        )  # fmt: skip
        self.assertEqual((document["samples"], document["top1"]), (3, 1))
        (self.folder / "y1.npy").write_bytes(tiny.npy("q", [6], [1, 2, 3, 1, 1, 2]))
        document = json.loads(
            self.good(*EVALUATE, "--data", "x.npy", "--labels", "y1.npy", "--label-offset", "-1",
                      "--json")
        )  # fmt: skip
        self.assertEqual(document["top1"], 1)

    def test_optimize_writes_model_and_report_and_prints_the_ledger(self):
        text = self.good(*OPTIMIZE, "-p", "clean.yaml", "--data", "x.npy", "--report", "r.json")
        for word in ["GOP", "parameters", "fold-constants", "DRAM traffic", "horowitz-45nm"]:
            self.assertIn(word, text)
        report = json.loads((self.folder / "r.json").read_text())
        self.assertEqual(report["model"], "model.onnx")
        self.assertEqual(report["pipeline"], "clean.yaml")
        self.assertEqual(
            [x["name"] for x in report["passes"]], ["fold-constants", "remove-dead-nodes"]
        )
        for record in report["passes"]:
            self.assertLessEqual(
                {"name", "seconds", "before", "after", "numerics", "stats"}, set(record)
            )
        self.assertEqual(report["totals_before"]["macs"], 12)
        self.assertEqual(report["totals_after"], report["totals_before"])
        document = json.loads(
            self.good("evaluate", "out.onnx", "--data", "x.npy", "--labels", "y.npy", "--json")
        )
        self.assertEqual(document["top1"], 1)

    def test_optimize_takes_passes_from_the_command_line(self):
        self.good(*OPTIMIZE, "--pass", "fold-constants", "--pass", "remove-identity", "-q")
        self.assertTrue((self.folder / "out.onnx").exists())

    def test_optimize_keeps_classes_and_writes_their_labels(self):
        self.good(*KEEP, "@mine.txt", "--report", "r.json")
        self.assertEqual((self.folder / "out.labels.txt").read_text(), "ant\ncat\n")
        record = json.loads((self.folder / "r.json").read_text())["passes"][0]
        self.assertEqual(record["stats"]["classes kept"], 2)
        self.assertEqual(record["stats"]["labels"][1], {"class": 1, "was": 2, "label": "cat"})
        again = self.good("optimize", "out.onnx", "-o", "one.onnx", "--keep-classes", "cat", "--labels-out", "l.txt")
        self.assertIn("classes before 2", again)  # The labels came along in the metadata.
        self.assertEqual((self.folder / "l.txt").read_text(), "cat\n")

    def test_optimize_sets_the_classes_of_a_pipeline(self):
        (self.folder / "p.yaml").write_text("passes: [fold-constants, reduce-classes: {keep: [0]}]\n")
        self.good(*OPTIMIZE, "-p", "p.yaml", "--keep-classes", "1-2", "-q", "--report", "r.json")
        document = json.loads((self.folder / "r.json").read_text())
        self.assertEqual([x["name"] for x in document["passes"]], ["fold-constants", "reduce-classes"])
        self.assertEqual(document["passes"][1]["stats"]["classes kept"], 2)

    def test_explain_shows_sets_and_pins_and_foretells_a_budget(self):
        document = json.loads(self.good("explain", "mlp.onnx", "--json"))
        self.assertEqual([x["name"] for x in document["sets"]], ["up"])
        self.assertEqual(document["sets"][0]["through"], [{"name": "act", "op": "Relu"}])
        self.assertEqual([x["name"] for x in document["pinned"]], ["down"])
        self.assertIn("'y', an output of the model", document["pinned"][0]["reason"])
        self.assertIn("read by       down (MatMul)", self.good("explain", "mlp.onnx", "--group", "up"))
        for budget in (["--macs", "-50%"], ["--pass", "prune-channels: {macs: -50%}"]):
            for data in ([], ["--data", "x.npy"]):
                document = json.loads(self.good("explain", "mlp.onnx", *budget, *data, "--json"))
                forecast = document["forecast"]
                self.assertEqual(forecast["before"], 112)
                self.assertEqual(forecast["sets"][0]["kept"], 8)
                self.assertEqual(forecast["after"], 56)
                self.assertEqual(forecast["sets"][0]["loss"] is not None, bool(data))
        self.assertEqual(sorted(os.listdir(self.folder)), self.files)

    def test_a_device_says_what_channels_are_to_be_multiples_of(self):
        for device, kept in (("1", 11), ("dpu-b512", 8)):
            passes = f"prune-channels: {{macs: -30%, multiple: {device}}}"
            document = json.loads(self.good("explain", "mlp.onnx", "--pass", passes, "--json"))
            self.assertEqual(document["forecast"]["sets"][0]["kept"], kept)

    def test_explain_runs_the_passes_before_pruning(self):
        text = self.good("explain", "mlp.onnx", "--pass", "fold-constants",
                         "--pass", "prune-channels: {macs: -50%, min-channels: 8}")
        self.assertIn("112.0 MACs -> 56.00 MACs (-50.0 %; the budget allows 56.00 MACs)", text)

    def test_measurements_are_kept_shared_and_merged(self):
        measure = ["sensitivity", "mlp.onnx", "--data", "x.npy", "-o"]
        self.assertIn("1 set measured", self.good(*measure, "whole.sens"))
        for part in "12":
            self.good(*measure, f"{part}.sens", "--shard", f"{part}/2")
        text = self.good("sensitivity", "--merge", "1.sens", "2.sens", "-o", "all.sens")
        self.assertEqual(text, "all.sens: 1 set of 1 network\n")
        whole = (self.folder / "whole.sens").read_bytes()
        self.assertEqual((self.folder / "all.sens").read_bytes(), whole)
        for budget in ("-30%", "-50%"):
            self.good("optimize", "mlp.onnx", "-o", "out.onnx", "--data", "x.npy", "--pass",
                      f"prune-channels: {{macs: {budget}, sensitivity: all.sens}}")
        self.assertEqual((self.folder / "all.sens").read_bytes(), whole, "nothing was measured")

    def test_compare_takes_models_and_reports(self):
        self.good(*OPTIMIZE, "-p", "clean.yaml", "--report", "r.json")
        for pair in [("model.onnx", "out.onnx"), ("r.json", "r.json"), ("r.json", "model.onnx")]:
            document = json.loads(self.good("compare", *pair, "--json"))
            self.assertEqual(document["change"]["macs"], 0)
            self.assertEqual(document["a"]["totals"]["macs"], 12)
            self.assertIn("energy per inference", self.good("compare", *pair))

    def test_run_writes_outputs(self):
        text = self.good("run", "model.onnx", "x.npy", "-o", "made")
        self.assertIn("f32[6,3]", text)
        content = (self.folder / "made" / "y.npy").read_bytes()
        rows = [[float(c == k % 4 % 3) for c in range(3)] for k in range(6)]
        self.assertEqual(content, tiny.npy("f", [6, 3], sum(rows, [])))

    def test_ops_and_passes_list_what_there_is(self):
        names = [x["name"] for x in json.loads(self.good("ops", "--json"))]
        self.assertIn("Conv", names)
        for op in json.loads(self.good("ops", "--json")):
            self.assertEqual(op["prunes"], bool(op["channels"]), op["name"] + " misses its rule")
        self.assertEqual(len(self.good("ops").splitlines()), len(names) + 4)
        self.assertIn("fold-batch-norm (exact)", self.good("passes"))

    def test_quiet_prints_results_only_and_verbose_goes_to_stderr(self):
        result = run(self.folder, *OPTIMIZE, "-p", "clean.yaml", "-q")
        self.assertEqual(result.stderr, "")
        result = run(self.folder, *OPTIMIZE, "-p", "clean.yaml", "-v")
        self.assertIn("pare: info: ", result.stderr)

    def test_a_full_disk_at_stdout_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w", encoding="ascii") as full:
            code = subprocess.run(
                [PARE, "ops"], stdout=full, stderr=subprocess.DEVNULL, check=False
            ).returncode
        self.assertEqual(code, USAGE)


class Interrupt(unittest.TestCase):
    def test_ctrl_c_stops_with_130_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "model.onnx").write_bytes(tiny.classifier())
            samples = 400_000  # Long enough to be interrupted.
            (folder / "x.npy").write_bytes(tiny.npy("B", [samples, 4], bytes(samples * 4)))
            before = sorted(os.listdir(folder))
            process = subprocess.Popen(
                [PARE, "evaluate", "model.onnx", "--data", "x.npy", "--against", "model.onnx",
                 "--batch", "1"],
                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, errors)
            self.assertIn("stopped by the user", errors)
            self.assertEqual(sorted(os.listdir(folder)), before)


if __name__ == "__main__":
    UPDATE = "--update-golden" in sys.argv
    PARE = str(pathlib.Path(sys.argv[1]).resolve())
    unittest.main(argv=sys.argv[:1])
