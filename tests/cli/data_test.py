#!/usr/bin/env python3
"""--data as a user gives it: folders, archives and CSVs of images, .pb, random; wrong ones too.

    data_test.py PARE

Standard library only. The network says which of red, green and blue there is most of.
"""

import io
import json
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
import zlib

import tiny_onnx as tiny

PARE = None
COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
USAGE, INPUT = 2, 3


def png(width, height, rgb):
    """One colour."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))

    rows = (b"\0" + bytes(rgb) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) +
            chunk(b"IEND", b""))


def colour_net():
    """x [N, 3, 8, 8] -> mean of each channel, [N, 3]."""
    return tiny.model(
        [tiny.node("GlobalAveragePool", ["x"], ["m"], "mean"),
         tiny.node("Flatten", ["m"], ["y"], "flat")],
        [tiny.value_info("x", ["N", 3, 8, 8])],
        [tiny.value_info("y", ["N", 3])],
    )


def pictures():
    """{name: bytes}: three classes, four pictures of odd sizes each."""
    return {f"{c}/{i}.png": png(8 + 5 * i, 9 + i, COLOURS[c]) for c in range(3) for i in range(4)}


class Data(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "net.onnx").write_bytes(colour_net())
        for name, content in pictures().items():
            self.write("images/" + name, content)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def run_pare(self, *arguments):
        return subprocess.run([PARE, *arguments], cwd=self.folder, capture_output=True, text=True,
                              timeout=120, check=False)

    def evaluate(self, *arguments):
        """The JSON document and the lines on stderr."""
        result = self.run_pare("evaluate", "net.onnx", "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout), result.stderr.splitlines()

    def error(self, *arguments, code=INPUT):
        result = self.run_pare("evaluate", "net.onnx", *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 1, result.stderr)
        return lines[0].removeprefix("pare: error: ")

    def test_folders_are_the_classes(self):
        document, errors = self.evaluate("--data", "images")
        self.assertEqual((document["samples"], document["top1"], errors), (12, 1, []))
        document, _ = self.evaluate("--data", "images/", "--channels", "bgr")
        self.assertAlmostEqual(document["top1"], 1 / 3)
        document, _ = self.evaluate("--data", "images", "--limit", "5", "--threads", "1")
        self.assertEqual((document["samples"], document["top1"]), (5, 1))

    def test_a_csv_names_the_classes(self):
        rows = "".join(f"{name},{(int(name[0]) + 1) % 3}\n" for name in pictures())
        self.write("labels.csv", "file,class\n" + rows)
        document, _ = self.evaluate("--data", "images", "--labels", "labels.csv")
        self.assertEqual(document["top1"], 0)
        self.write("short.csv", "\n".join(rows.splitlines()[2:]))
        self.assertEqual(self.error("--data", "images", "--labels", "short.csv"),
                         "short.csv: has no line for '0/0.png' and 1 other images")
        self.write("words.csv", "0/0.png,0\n0/1.png,red\n")
        self.assertEqual(self.error("--data", "images", "--labels", "words.csv"),
                         "words.csv:2: '0/1.png,red' is no line 'file,class' with a whole number")

    def test_archives_are_read_like_folders(self):
        for name, mode in [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz")]:
            with tarfile.open(self.folder / name, mode) as archive:
                for member, content in reversed(pictures().items()):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        with zipfile.ZipFile(self.folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in pictures().items():
                archive.writestr(member, content)
        for name in ["a.tar", "a.tar.gz", "a.tar.xz", "a.zip"]:
            with self.subTest(name):
                document, _ = self.evaluate("--data", name)
                self.assertEqual((document["samples"], document["top1"]), (12, 1))

    def test_a_damaged_archive_and_a_bomb_are_errors(self):
        self.write("cut.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0")
        self.assertTrue(self.error("--data", "cut.tar.gz").startswith("cut.tar.gz: "))
        with zipfile.ZipFile(self.folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", bytes(300 << 20))
        self.assertEqual(self.error("--data", "bomb.zip"),
                         "bomb.zip: 'a.png' unpacks to more than 256 MiB")

    def test_damaged_images_are_named_and_do_not_count(self):
        self.write("images/1/broken.png", png(8, 8, (1, 2, 3))[:50])
        self.write("images/2/text.jpg", "no picture")
        self.write("images/2/bitmap.tiff", "II*")
        document, errors = self.evaluate("--data", "images")
        self.assertEqual((document["samples"], document["top1"]), (12, 1))
        self.assertEqual(len(errors), 2, errors)
        self.assertIn("1 file that is no JPEG, PNG, WebP or BMP by name: left out (.tiff)", errors[0])
        self.assertIn("2 of 14 images cannot be used and are left out: 1/broken.png is a damaged "
                      "PNG file", errors[1])
        self.assertIn("2/text.jpg is no JPEG, PNG, WebP or BMP file", errors[1])

    def test_too_few_images_are_an_error(self):
        self.assertEqual(self.error("--data", "images", "--min-images", "13"),
                         "images: holds 12 samples, expected at least 13")
        self.write("none/a.txt", "")
        self.assertEqual(self.error("--data", "none"),
                         "none: holds no image, expected .jpg, .jpeg, .png, .webp or .bmp")

    def test_a_pipeline_says_how_samples_are_prepared_and_options_change_it(self):
        self.write("p.yaml", "data:\n  preset: imagenet\n  channels: bgr\npasses: [fold-constants]\n")
        document, _ = self.evaluate("--data", "images", "-p", "p.yaml")
        self.assertAlmostEqual(document["top1"], 1 / 3)
        document, _ = self.evaluate("--data", "images", "-p", "p.yaml", "--channels", "rgb")
        self.assertEqual(document["top1"], 1)
        result = self.run_pare("optimize", "net.onnx", "-o", "out.onnx", "-p", "p.yaml", "--data",
                               "images", "--report", "r.json")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads((self.folder / "r.json").read_text())
        self.assertEqual(report["options"]["data"], "images")
        self.assertIn("channels: bgr", report["pipeline_text"])

    def test_random_data_is_said_loudly(self):
        document, errors = self.evaluate("--data", "random:9", "--against", "net.onnx")
        self.assertEqual((document["samples"], document["agreement"]), (9, 1))
        self.assertEqual(len(errors), 1)
        self.assertIn("THE DATA IS RANDOM NOISE", errors[0])

    def test_a_tensor_proto_is_an_array(self):
        numbers = [float(c == i % 3) for i in range(6) for c in range(3) for _ in range(64)]
        self.write("x.pb", tiny.tensor("x", [6, 3, 8, 8], numbers))
        self.write("y.npy", tiny.npy("q", [6], [0, 1, 2, 0, 1, 2]))
        document, _ = self.evaluate("--data", "x.pb", "--labels", "y.npy")
        self.assertEqual((document["samples"], document["top1"]), (6, 1))

    def test_wrong_settings_are_named_with_what_was_expected(self):
        data = ["--data", "images"]
        for words, sentence in [
            (["--preset", "imagnet"], "preset is 'imagnet', did you mean 'imagenet'?"),
            (["--resize", "crop"], "resize is 'crop', expected one of none, short-side, stretch, "
             "letterbox"),
            (["--size", "2x"], "size is '2x', expected pixels as in 224 or, HxW, 240x320"),
            (["--fill", "256"], "fill is '256', expected a whole number in [0, 255]"),
            (["--crop-ratio", "2"], "crop-ratio is '2', expected a number in [0.01, 1]"),
        ]:
            with self.subTest(words=words):
                self.assertEqual(self.error(*data, *words, code=USAGE), "command line: " + sentence)
        self.write("p.yaml", "data:\n  presett: imagenet\npasses: []\n")
        self.assertTrue(self.error(*data, "-p", "p.yaml", code=USAGE).startswith(
            "p.yaml:2: data: unknown key 'presett', did you mean 'preset'? known keys: "))
        self.assertEqual(self.error(*data, "--crop", "4"),
                         "images: samples are [3,4,4], the model's input 'x' takes [3,8,8]")


if __name__ == "__main__":
    PARE = str(pathlib.Path(sys.argv[1]).resolve())
    unittest.main(argv=sys.argv[:1])
