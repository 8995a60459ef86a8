#!/usr/bin/env python3
"""Reports as files: HTML that is whole in itself and safe, Markdown, JSON; comparisons alike.

    report_test.py PARE

Standard library only. Where Chromium is installed the page is opened in it: no console message, no
refused resource, charts drawn, sorting and filtering work.
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
search.value = 'dense matmul'; search.dispatchEvent(new Event('input')); seen.filtered = names();
seen.drawn = [...document.querySelectorAll('canvas')].map((c) =>
  c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x !== 0));
seen.scripts = document.scripts.length;
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


class Reports(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "net.onnx").write_bytes(evil_net())

    def pare(self, *arguments, code=0):
        result = subprocess.run([PARE, *arguments], cwd=self.folder, capture_output=True, text=True,
                                timeout=120, check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout if code == 0 else result.stderr

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
        self.assertEqual(page.count("<script"), 3, "a name of the model opened a script")
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

    def browse(self, page, *arguments):
        """What Chromium writes: (page after its scripts ran, console lines)."""
        result = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
             f"--user-data-dir={self.folder}/profile", "--virtual-time-budget=2000", "--dump-dom",
             *arguments, page.as_uri()],
            capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        return result.stdout, [x for x in result.stderr.splitlines() if "CONSOLE" in x]

    def test_a_browser_shows_it_without_a_complaint(self):
        if not CHROMIUM:
            self.skipTest("no Chromium")
        page = self.optimize("r.html")
        shown, console = self.browse(self.folder / "r.html")
        self.assertEqual(console, [])
        self.assertIn("What was left alone, and why", shown)
        probe = self.folder / "probe.html"
        probe.write_text(re.sub(r"<meta http-equiv.*?>", "", page).replace("</body>", PROBE + "</body>"))
        shown, console = self.browse(probe)
        self.assertEqual(console, [])
        title = re.search(r"<title>(.*?)</title>", shown, re.S).group(1)
        seen = json.loads(title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        self.assertEqual(seen["before"], ["dense", EVIL, "head"])
        self.assertEqual(set(seen["largest"]), set(seen["before"]))
        self.assertEqual(seen["largest"], seen["smallest"][::-1])
        self.assertEqual(seen["filtered"], ["dense"])
        self.assertEqual(seen["drawn"], [True, True, True])
        self.assertEqual(seen["scripts"], 4, "the three of the page and the probe")
        self.pare("compare", "net.onnx", "small.onnx", "--report", "c.html")
        shown, console = self.browse(self.folder / "c.html")
        self.assertEqual(console, [])
        self.assertIn("net.onnx and small.onnx", shown)


if __name__ == "__main__":
    PARE = str(pathlib.Path(sys.argv[1]).resolve())
    unittest.main(argv=sys.argv[:1])
