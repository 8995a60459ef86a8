#!/usr/bin/env python3
"""Reports as files: HTML that is whole in itself and safe, Markdown, JSON; comparisons alike.

    report_test.py PARE

Standard library only. Where Chromium is installed pages are opened in it: no console message, no
refused resource, nothing asked of the network, charts drawn, sorting and filtering work.
"""

import base64
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import resnets
import tiny_onnx as tiny

PARE = None
EVIL = "a|b</script><script>alert(1)</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Clicks a heading and types into a filter, then leaves what it saw as the page's title.
PROBE = """
<script>
const table = [...document.querySelectorAll('table')].find((t) => t.textContent.includes('energy after'));
const names = () => [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[0].textContent);
const click = (title) => [...table.tHead.querySelectorAll('button')].find((b) => b.textContent === title).click();
const seen = {before: names()};
click('energy before'); seen.largest = names();
click('energy before'); seen.smallest = names();
const search = table.closest('section').querySelector('input[type=search]');
search.value = 'matmul ' + (names().includes('dense') ? 'dense' : ''); search.dispatchEvent(new Event('input')); seen.filtered = names();
seen.drawn = [...document.querySelectorAll('canvas')].map((c) =>
  c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x !== 0));
seen.scripts = document.scripts.length;
seen.asked = performance.getEntriesByType('resource').map((x) => x.name);
document.title = JSON.stringify(seen);
</script>"""


def evil_net():
    """Two layers, one of whose names is an attack."""
    return tiny.model(
        [tiny.node("MatMul", ["x", "w"], ["h"], "dense"), tiny.node("Relu", ["h"], ["r"], EVIL),
         tiny.node("MatMul", ["r", "v"], ["y"], "head")],
        [tiny.value_info("x", ["N", 4])],
        [tiny.value_info("y", ["N", 3])],
        [tiny.tensor("w", [4, 64], [0.5] * 256), tiny.tensor("v", [64, 3], [0.25] * 192)],
    )


class Page(unittest.TestCase):
    """A folder, the program and a browser."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def pare(self, *arguments, code=0):
        result = subprocess.run([PARE, *arguments], cwd=self.folder, capture_output=True, text=True,
                                timeout=120, check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout if code == 0 else result.stderr

    def browse(self, page, *arguments):
        """What Chromium writes: (page after its scripts ran, console lines)."""
        result = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
             "--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run",
             f"--user-data-dir={self.folder}/profile", "--virtual-time-budget=5000", "--dump-dom",
             *arguments, page.as_uri()],
            capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        return result.stdout, [x for x in result.stderr.splitlines() if "CONSOLE" in x]

    def probe(self, page):
        """What the script PROBE sees on the page, which must have no complaint."""
        probe = self.folder / "probe.html"
        probe.write_text(re.sub(r"<meta http-equiv.*?>", "", page).replace("</body>", PROBE + "</body>"))
        shown, console = self.browse(probe)
        self.assertEqual(console, [])
        title = re.search(r"<title>(.*?)</title>", shown, re.S).group(1)
        seen = json.loads(title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        self.assertEqual(seen["asked"], [], "the page asked for something")
        return seen


class Reports(Page):
    def setUp(self):
        super().setUp()
        (self.folder / "net.onnx").write_bytes(evil_net())
        (self.folder / "x.npy").write_bytes(tiny.eye(8))

    def optimize(self, report, *arguments, code=0):
        output = self.pare("optimize", "net.onnx", "-o", "small.onnx", "--report", report,
                           "--pass", "prune-channels: {macs: -30%}", *arguments, code=code)
        return output if code else (self.folder / report).read_text()

    def test_html_is_one_file_that_runs_nothing_but_its_own_scripts(self):
        page = self.optimize("r.html")
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
        self.assertTrue(policy.startswith("default-src 'none'; "))
        self.assertNotIn("unsafe", policy)
        for kind, bodies in [("script-src", re.findall(r"<script>(.*?)</script>", page, re.S)),
                             ("style-src", re.findall(r"<style>(.*?)</style>", page, re.S))]:
            self.assertTrue(bodies)
            for body in bodies:
                digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
                self.assertIn(f"'sha256-{digest}'", policy[policy.index(kind):])
        self.assertFalse(re.findall(r'\b(?:src|href)\s*=\s*"', page), "loads something")
        self.assertEqual(page.count("<script"), 4, "a name of the model opened a script")
        self.assertLess(len(page), 400_000)

    def test_the_data_of_the_page_is_the_json_report(self):
        page, document = self.optimize("r.html"), json.loads(self.optimize("r.json"))
        data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
        self.assertEqual(set(data), set(document))
        self.assertEqual(data["layers"], document["layers"])
        layer = document["layers"][0]
        self.assertEqual((layer["name"], layer["op"], layer["before"]["macs"]),
                         ("dense", "MatMul", 256))
        self.assertLess(layer["after"]["channels"], layer["before"]["channels"])
        self.assertEqual(document["layers"][1]["name"], EVIL)
        self.assertEqual([x["name"] for x in document["left_alone"]], ["head"])
        self.assertIn("an output of the model", document["left_alone"][0]["reason"])

    def test_markdown_has_totals_passes_and_pipeline(self):
        text = self.optimize("r.md")
        self.assertTrue(text.startswith("# net.onnx\n\nMade into `small.onnx` by pare "))
        self.assertIn("|  | before | after | change |\n|---|---:|---:|---:|\n| MACs | 448 | ", text)
        self.assertIn("| prune-channels | ", text)
        self.assertTrue(text.endswith("````yaml\npasses:\n  - prune-channels: {macs: -30%}\n````\n"))

    def test_another_ending_is_refused_before_any_work(self):
        self.assertEqual(self.optimize("r.pdf", code=2), "pare: error: --report r.pdf: expected a "
                         "name that ends in .json, .html or .md\n")
        self.assertFalse((self.folder / "small.onnx").exists())

    def test_compare_writes_and_prints_every_form(self):
        self.optimize("r.json")
        text = self.pare("compare", "net.onnx", "small.onnx", "--markdown", "--report", "c.html")
        self.assertIn("| layers that differ | MACs | MACs | change |", text)
        self.assertIn("| dense | 256 | ", text)
        self.assertIn('"layers"', (self.folder / "c.html").read_text())
        document = json.loads(self.pare("compare", "net.onnx", "r.json", "--json"))
        self.assertEqual([x["name"] for x in document["layers"]], ["dense", "head"])

    def test_a_browser_shows_it_without_a_complaint(self):
        if not CHROMIUM:
            self.skipTest("no Chromium")
        page = self.optimize("r.html", "--data", "x.npy")
        shown, console = self.browse(self.folder / "r.html")
        self.assertEqual(console, [])
        self.assertIn("What was left alone, and why", shown)
        seen = self.probe(page)
        self.assertEqual(seen["before"], ["dense", EVIL, "head"])
        self.assertEqual(set(seen["largest"]), set(seen["before"]))
        self.assertEqual(seen["largest"], seen["smallest"][::-1])
        self.assertEqual(seen["filtered"], ["dense"])
        self.assertEqual(seen["drawn"], [True] * 6)
        self.assertEqual(seen["scripts"], 5, "the four of the page and the probe")
        self.pare("compare", "net.onnx", "small.onnx", "--report", "c.html")
        shown, console = self.browse(self.folder / "c.html")
        self.assertEqual(console, [])
        self.assertIn("net.onnx and small.onnx", shown)

    def test_a_browser_shows_a_diagnosis(self):
        if not CHROMIUM:
            self.skipTest("no Chromium")
        self.optimize("r.json", "--data", "x.npy", "--pass", "quantize-int8")
        self.pare("diagnose", "net.onnx", "small.onnx", "--data", "x.npy", "--report", "d.md", code=3)
        self.pare("optimize", "net.onnx", "-o", "small.onnx", "--data", "x.npy", "--pass",
                  "quantize-int8")
        diagnose = ["diagnose", "net.onnx", "small.onnx", "--data", "x.npy"]
        document = json.loads(self.pare(*diagnose, "--json", "--report", "d.html"))
        self.assertEqual({x["name"] for x in document["layers"]}, {"dense", "head"})
        self.assertEqual(sum(document["layers"][0]["activations"]["counts"]), 8 * 64 if
                         document["layers"][0]["name"] == "dense" else 8 * 3)
        shown, console = self.browse(self.folder / "d.html")
        self.assertEqual(console, [])
        self.assertIn("small.onnx against net.onnx", shown)
        self.pare(*diagnose, "--report", "d.md")
        self.assertIn("| layer | op | bits |", (self.folder / "d.md").read_text())


PIPELINE = """passes:
  - fold-batch-norm
  - prune-channels: {macs: -30%, method: l2, refit: false}
  - quantize-int8: {rounding: nearest, correct: false, samples: 2}
"""


class RealSizes(Page):
    """Networks as people have them; their weights are made up."""

    def check(self, model, layers):
        (self.folder / "net.onnx").write_bytes(model)
        (self.folder / "p.yaml").write_text(PIPELINE)
        self.pare("optimize", "net.onnx", "-o", "small.onnx", "-p", "p.yaml", "--data", "random:2",
                  "--report", "r.html", "-q")
        page = (self.folder / "r.html").read_text()
        self.assertLess(len(page), 2_000_000)
        document = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
        weighted = [x for x in document["layers"] if x["before"] and x["before"]["weight_type"]]
        self.assertEqual(len(weighted), layers)
        self.assertTrue(any(x["after"]["channels"] < x["before"]["channels"] for x in weighted))
        for layer in weighted:  # Pruned ones too, by the channels that are left.
            self.assertIsNotNone(layer["error"], layer["name"])
        standing = {name for node in document["nodes"] for name in node["stands_for"]}
        self.assertLessEqual({"stem", "stem_bn"}, standing)
        self.assertEqual([x["stands_for"] for x in document["nodes"] if x["name"] == "stem"],
                         [["stem", "stem_bn"]])
        self.assertEqual(document["removed"], [])
        if not CHROMIUM:
            self.skipTest("no Chromium")
        shown, console = self.browse(self.folder / "r.html")
        self.assertEqual(console, [])
        self.assertIn("Where the nodes come from", shown)
        seen = self.probe(page)
        self.assertEqual(seen["drawn"], [True] * 6)
        self.assertEqual(sorted(seen["largest"]), sorted(seen["before"]))
        self.assertNotEqual(seen["largest"], seen["before"])
        self.assertEqual(seen["filtered"], ["fc"])

    def test_resnet_50(self):
        self.check(resnets.resnet50(), 54)

    def test_resnet_56(self):
        self.check(resnets.resnet56(), 58)


if __name__ == "__main__":
    PARE = str(pathlib.Path(sys.argv[1]).resolve())
    unittest.main(argv=sys.argv[:1])
