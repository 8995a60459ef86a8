#!/usr/bin/env python3
"""Gates of compare (--fail-if) and pipeline files: check, show, schema, --set.

    pipeline_test.py PARE [--update-golden]

Standard library, and jsonschema with yaml where they are installed. --update-golden rewrites pipelines/pipeline.schema.json and
tests/golden/pipeline_errors.txt.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import tiny_onnx as tiny

try:
    import jsonschema
    import yaml
except ImportError:
    jsonschema = yaml = None

PARE = None
UPDATE = False
ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "pipelines" / "pipeline.schema.json"
ERRORS = ROOT / "tests" / "golden" / "pipeline_errors.txt"
FAILED, USAGE, INPUT = 1, 2, 3
PIPELINE = """name: mine
data: {preset: imagenet}
passes:
  - fold-constants
  - prune-channels:
      macs: -30%
      exclude: [head]
"""


# What may be wrong with the form of a pipeline file.
FORMS = [
    "", "[a]", "passes: fold-constants", "passes: {fold-constants: {}}", "name: x", "nmae: x\npasses: []",
    "name: [x]\npasses: []", "description: {a: 1}\npasses: []", "seed: -1\npasses: []",
    "seed: seven\npasses: []", "passes: []\npasses: []", "passes: [fold-constants",
    "passes:\n\t- fold-constants", "passes: [[fold-constants]]", "passes: [{}]",
    "passes:\n  - fold-constants: {}\n    remove-identity: {}", "passes: [fold-constant]",
    "passes: [nonsense]", "passes: [fold-constants: 3]", "passes: [fold-constants: {fast: true}]",
    "passes: [prune-channels: {mcas: -30%}]", "passes: [prune-channels: {macs: {a: 1}}]",
    "passes: [prune-channels: {include: [[a]]}]", "passes: [prune-channels: {macs: -1%, macs: -2%}]",
    "passes: [prune-channels: {[a]: 1}]", "passes: [prune-channels: {macs: -9%, params: -9%}]",
    "data: imagenet\npasses: []", "data: {preset: [imagenet]}\npasses: []",
    "variables: [a]\npasses: []", "variables: {1a: 2}\npasses: []", "variables: {a: {b: 1}}\npasses: []",
    "variables: {a: 1}\npasses: []", "passes: [prune-channels: {macs: $a}]",
    "variables: {share: 1}\npasses: [prune-channels: {macs: $shar}]",
    "variables: {a: [1, 2]}\npasses: [prune-channels: {macs: -$a%}]",
    "variables: {a: [1, 2]}\npasses: [prune-channels: {macs: $a}]",
    "passes: [prune-channels: {macs: 5$}]", "passes: [include: nowhere.yaml]",
    "passes: [include: [a.yaml]]", "passes: [include: {macs: 1}]", "passes: [include: broken.yaml]",
    "passes: [include: form.yaml]", "passes: [include: {file: part.yaml, mcas: 1}]",
    "passes: [include: {file: plain.yaml, macs: 1}]", "passes: [include: faulty.yaml]",
]
INCLUDED = {
    "broken.yaml": "passes: [\n", "plain.yaml": "passes: []\n",
    "part.yaml": "variables: {macs: 1}\npasses: [prune-channels: {macs: $macs}]\n",
    "faulty.yaml": "passes:\n  - fold-constants\n  - remove-identities\n",
}
# No value of any key.
NONSENSE = ["nonsense", "[1, 2]", "-1.0e+30", "[]"]


class Run(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "a.onnx").write_bytes(tiny.classifier(3))
        (self.folder / "b.onnx").write_bytes(tiny.classifier(2))
        (self.folder / "x.npy").write_bytes(tiny.eye(6))
        (self.folder / "p.yaml").write_text(PIPELINE)

    def pare(self, *arguments, code=0):
        result = subprocess.run([PARE, *arguments], cwd=self.folder, capture_output=True, text=True,
                                timeout=60, check=False)
        self.assertEqual(result.returncode, code, result.stderr + result.stdout)
        return result.stdout if code == 0 else result.stderr.removeprefix("pare: error: ").strip()


class Gates(Run):
    def gate(self, *rules, code=0, second="b.onnx"):
        options = [word for rule in rules for word in ("--fail-if", rule)]
        return self.pare("compare", "a.onnx", second, *options, code=code)

    def test_a_rule_that_holds_ends_with_1_and_is_named(self):
        self.assertEqual(self.gate("macs >= 8", code=FAILED), "--fail-if 'macs >= 8' holds: macs is 8")
        self.gate("macs > 8", "weight_bytes > 0.7 * before", "parameters == 3")
        self.assertEqual(self.gate("weight_bytes > 60% * before", "macs<1", code=FAILED),
                         "--fail-if 'weight_bytes > 60% * before' holds: before.weight_bytes is 48, "
                         "weight_bytes is 32")

    def test_arithmetic_binds_as_usual(self):
        for rule, holds in [("macs != 2 + 2 * 3", False), ("macs != (2 + 2) * 3", True),
                            ("-macs < 0 - 7", True), ("macs > 0.001k * 7.5", True),
                            ("after.macs / before.macs < 2/3 - 1%", False),
                            ("1 < 2 * before.macs / 12", True)]:
            with self.subTest(rule):
                self.gate(rule, code=FAILED if holds else 0)

    def test_what_is_no_rule_is_refused_before_any_work(self):
        for rule, sentence in [
            ("gopp > 17", "at 'gopp > 17': expected a figure, did you mean 'gop'?"),
            ("gop 17", "at '17': expected <, <=, >, >=, == or !="),
            ("gop > ", "at the end: expected a figure, one of macs, gop, other_ops, parameters, "
             "weight_bytes, activation_bytes, dram_bytes, energy_joules, power_watts, agreement, kl, "
             "sqnr_db, cosine"),
            ("gop > 1 2", "at '2': expected nothing more"),
            ("(gop > 1", "at '> 1': expected ')'"),
            ("before > gop", "at '> gop': expected 'before.' and a figure"),
            ("(" * 200 + "gop", None),
        ]:
            with self.subTest(rule):
                error = self.gate(rule, code=USAGE, second="missing.onnx")
                if sentence:
                    self.assertEqual(error, f"--fail-if '{rule}': {sentence}")

    def test_agreement_comes_from_the_report_of_a_run_on_data(self):
        self.assertEqual(self.gate("agreement < 98%", code=INPUT),
                         "--fail-if 'agreement < 98%': b.onnx has no agreement, expected the report "
                         "of a run with --data")
        self.pare("optimize", "a.onnx", "-o", "c.onnx", "--data", "x.npy", "--report", "c.json",
                  "--pass", "quantize-int8")
        self.gate("agreement < 50%", second="c.json")
        self.assertIn("agreement is 1", self.gate("agreement > 0.5", second="c.json", code=FAILED))

    def test_rules_stand_in_the_json_report(self):
        self.pare("compare", "a.onnx", "b.onnx", "--fail-if", "macs > 1", "--report", "c.json",
                  code=FAILED)
        document = json.loads((self.folder / "c.json").read_text())
        self.assertEqual(document["rules"],
                         [{"rule": "macs > 1", "failed": True, "figures": "macs is 8"}])


class Pipelines(Run):
    def test_check_says_what_is_wrong_and_where(self):
        self.assertEqual(self.pare("pipeline", "check", "p.yaml"), "p.yaml: can be run, 2 passes\n")
        for old, new, sentence in [
            ("fold-constants", "fold-constant", "p.yaml:4: unknown pass 'fold-constant', did you mean "
             "'fold-constants'? known passes: ..."),
            ("macs:", "mcas:", "p.yaml:6: prune-channels: unknown key 'mcas', did you mean 'macs'? ..."),
            ("preset", "presets", "p.yaml:2: data: unknown key 'presets', did you mean 'preset'? ..."),
            ("name:", "nmae:", "p.yaml:1: unknown key 'nmae', did you mean 'name'? ..."),
        ]:
            with self.subTest(new):
                (self.folder / "p.yaml").write_text(PIPELINE.replace(old, new))
                error = self.pare("pipeline", "check", "p.yaml", code=USAGE)
                self.assertTrue(error.startswith(sentence.removesuffix("...")), error)

    def test_show_lists_every_option_and_where_it_is_from(self):
        rows = [line.split() for line in self.pare("pipeline", "show", "p.yaml").splitlines()]
        self.assertIn(["data", "preset", "imagenet", "given"], rows)
        self.assertIn(["prune-channels", "macs", "-30%", "given"], rows)
        self.assertIn(["prune-channels", "exclude", "[head]", "given"], rows)
        self.assertIn(["prune-channels", "min-channels", "4", "default"], rows)

    def test_set_changes_a_setting_as_the_file_would(self):
        text = self.pare("pipeline", "show", "p.yaml", "--set", "prune-channels.macs=-35%",
                         "--set", "prune-channels.include=[a, b]", "--set", "data.channels=bgr")
        rows = [line.split() for line in text.splitlines()]
        self.assertIn(["prune-channels", "macs", "-35%", "given"], rows)
        self.assertIn(["prune-channels", "include", "[a,", "b]", "given"], rows)
        self.assertIn(["data", "channels", "bgr", "given"], rows)
        for setting, sentence in [
            ("prune-chanels.macs=1", ": the pipeline has no pass 'prune-chanels', did you mean "
             "'prune-channels'?"),
            ("macs=1", ": expected PASS.KEY=VALUE, as in prune-channels.macs=-35%"),
        ]:
            self.assertEqual(self.pare("pipeline", "check", "p.yaml", "--set", setting, code=USAGE),
                             f"--set {setting}{sentence}")
        self.assertTrue(self.pare("pipeline", "check", "p.yaml", "--set", "prune-channels.mcas=1",
                                  code=USAGE).startswith("p.yaml:5: prune-channels: unknown key"))
        self.pare("optimize", "a.onnx", "-o", "c.onnx", "--pass", "fold-constants", "--set", "seed=7",
                  "--report", "r.json")
        report = json.loads((self.folder / "r.json").read_text())
        self.assertEqual(report["options"]["seed"], "7")
        self.assertTrue(report["pipeline_text"].endswith("# --set seed=7\n"))

    def test_the_schema_is_the_one_that_is_shipped_and_knows_every_option(self):
        text = self.pare("pipeline", "schema")
        if UPDATE:
            SCHEMA.write_text(text)
        self.assertEqual(text, SCHEMA.read_text(), "rewrite with --update-golden")
        schema = json.loads(text)
        names, with_options, _ = schema["properties"]["passes"]["items"]["oneOf"]
        self.assertEqual(names["enum"], list(with_options["properties"]))
        listed = self.pare("passes")
        for name, settings in with_options["properties"].items():
            self.assertIn(name, listed)
            for option, what in settings["properties"].items():
                self.assertIn(option, listed)
                self.assertTrue({"type", "anyOf", "enum"} & set(what), option)
        preset = schema["properties"]["data"]["properties"]["preset"]
        self.assertIn("imagenet-tf", preset["anyOf"][0]["enum"])

    verdicts = {}  # By text: two tests ask for all of them.

    def verdict(self, text):
        """What check says of a file with this text, without the names of folders."""
        if text in self.verdicts:
            return self.verdicts[text]
        (self.folder / "form.yaml").write_text(text + "\n")
        result = subprocess.run([PARE, "pipeline", "check", "form.yaml"], cwd=self.folder,
                                capture_output=True, text=True, timeout=60, check=False)
        self.assertIn(result.returncode, (0, USAGE), result.stderr)
        said = (result.stdout + result.stderr).strip()
        self.assertNotIn("\n", said)
        said = said.removeprefix("pare: error: ").replace(str(self.folder.resolve()), "FOLDER")
        self.verdicts[text] = said
        return said

    def faulty(self):
        """Texts of pipeline files: every fault of form, and nonsense for every key."""
        for name, text in INCLUDED.items():
            (self.folder / name).write_text(text)
        schema = json.loads(self.pare("pipeline", "schema"))["properties"]
        passes = schema["passes"]["items"]["oneOf"][1]["properties"]
        settings = {("data", key) for key in schema["data"]["properties"]}
        settings |= {(name, key) for name, what in passes.items() for key in what["properties"]}
        blocks = [f"{n}: {{{key}: {value}}}" for n, key in sorted(settings) for value in NONSENSE]
        return FORMS + [f"{block}\npasses: []" if block.startswith("data:") else f"passes: [{block}]"
                        for block in blocks]

    def test_the_schema_takes_what_the_program_takes_and_knows_every_name(self):
        if not jsonschema:
            self.skipTest("no jsonschema or yaml")
        check = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
        for file in sorted((ROOT / "pipelines").glob("*.yaml")):
            self.assertTrue(check.is_valid(yaml.safe_load(file.read_text())), file)
        for text in self.faulty():
            verdict = self.verdict(text)
            try:
                valid = check.is_valid(yaml.safe_load(text))
            except yaml.YAMLError:
                valid = False
            with self.subTest(text):
                if "can be run" in verdict:
                    self.assertTrue(valid, "the program takes it")
                if verdict.startswith("form.yaml") and (
                        "unknown key" in verdict or "unknown pass" in verdict):
                    self.assertFalse(valid, verdict)

    def test_every_error_of_a_pipeline_file_is_as_recorded(self):
        lines = [f"{json.dumps(text)}\n    {self.verdict(text)}" for text in self.faulty()]
        text = "\n".join(lines) + "\n"
        if UPDATE:
            ERRORS.write_text(text)
        self.assertEqual(text, ERRORS.read_text(), "rewrite with --update-golden")

    def test_variables_and_includes_are_put_in_and_can_be_set(self):
        (self.folder / "part.yaml").write_text(INCLUDED["part.yaml"])
        (self.folder / "v.yaml").write_text(
            "variables: {m: -20%}\npasses:\n  - include: {file: part.yaml, macs: $m}\n")
        shown = json.loads(self.pare("pipeline", "show", "v.yaml", "--json"))
        self.assertEqual([x["given"] for x in shown["passes"]], [{"macs": "-20%"}])
        self.assertEqual(shown["passes"][0]["defaults"]["min-channels"], "4")
        self.pare("optimize", "a.onnx", "-o", "c.onnx", "-p", "v.yaml", "--set", "variables.m=12",
                  "--report", "r.json")
        text = json.loads((self.folder / "r.json").read_text())["pipeline_text"]
        self.assertIn("prune-channels: {macs: 12}", text)
        self.assertNotIn("include", text.replace("with its includes", ""))
        self.assertEqual(self.pare("pipeline", "check", "v.yaml", "--set", "variables.share=1", code=USAGE),
                         "v.yaml:1: has no variable 'share', only m")
        self.assertEqual(self.pare("optimize", "a.onnx", "-o", "c.onnx", "--pass", "fold-constants",
                                   "--set", "variables.n=1", code=USAGE),
                         "--set variables.n=1: there is no pipeline file with variables (-p)")

    def test_every_shipped_pipeline_can_be_run(self):
        files = sorted((ROOT / "pipelines").glob("*.yaml"))
        self.assertTrue(files)
        for file in files:
            self.assertIn("can be run", self.pare("pipeline", "check", str(file)))
            shown = self.pare("pipeline", "show", str(file), "--json")
            self.assertEqual(self.pare("pipeline", "show", file.stem, "--json"), shown, "by its name")


if __name__ == "__main__":
    UPDATE = "--update-golden" in sys.argv
    PARE = str(pathlib.Path(sys.argv[1]).resolve())
    unittest.main(argv=sys.argv[:1])
