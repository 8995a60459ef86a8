#!/usr/bin/env python3
"""Holds decoding, scaling and cutting of images against Pillow, on which most networks were trained.

    pillow_test.py FIT_IMAGES [--data DIR]

FIT_IMAGES is the program of this folder. Images are drawn here in every format, mode and odd size,
and the photos of DIR (default: PARE_BENCH_DATA, or shared/bench-data beside the source) where they
are. No level may differ by more than one. Exit 77 where Pillow is not installed.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "build" / "venv" / "bin" / "python"

try:
    import numpy
    from PIL import Image
except ImportError:
    if VENV.exists() and pathlib.Path(sys.prefix) != VENV.parents[1]:
        os.execv(VENV, [str(VENV), *sys.argv])
    print("skipped: Pillow is not installed (scripts/venv)")
    sys.exit(77)

SIZES = [(1, 1), (1, 37), (300, 7), (64, 48), (227, 320), (640, 427)]  # width, height
TARGETS = [("stretch", 32, 32), ("stretch", 224, 100), ("short-side", 224, 224),
           ("short-side", 97, 64), ("letterbox", 128, 128)]  # height, width
FILL = 114


def pattern(width, height, channels, seed):
    """Edges, ramps and noise, so that rounding and borders show."""
    rng = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    planes = [(x * (3 + c) + y * (2 * c + 1)) % 256 for c in range(channels)]
    image = numpy.stack(planes, -1).astype(numpy.uint8)
    noisy = rng.random((height, width)) < 0.3
    image[noisy] = rng.integers(0, 256, (int(noisy.sum()), channels))
    image[: height // 3, : width // 3] = 255
    return image


def draw(folder):
    """Files of every kind; returns their paths."""
    files = []

    def save(image, name, **options):
        image.save(folder / name, **options)
        files.append(folder / name)

    for i, (width, height) in enumerate(SIZES):
        rgb = Image.fromarray(pattern(width, height, 3, i))
        rgba = Image.fromarray(pattern(width, height, 4, i), "RGBA")
        save(rgb, f"{i}.png")
        save(rgb, f"{i}_444.jpg", quality=95, subsampling=0)
        save(rgb, f"{i}_420.jpg", quality=80)
        save(rgb, f"{i}_progressive.jpg", progressive=True)
        save(rgb, f"{i}_lossless.webp", lossless=True)
        save(rgb, f"{i}_lossy.webp", quality=70)
        save(rgb, f"{i}.bmp")
        save(rgba, f"{i}_alpha.bmp")
        for mode in ("L", "P", "1"):
            save(rgb.convert(mode), f"{i}_{mode}.bmp")
        save(rgba, f"{i}_alpha.png")
        save(rgba, f"{i}_alpha.webp", lossless=True, exact=True)
        save(rgb.convert("L"), f"{i}_grey.png")
        save(rgb.convert("L"), f"{i}_grey.jpg")
        save(rgb.convert("LA"), f"{i}_grey_alpha.png")
        save(rgb.convert("P"), f"{i}_palette.png")
        save(rgb.convert("1"), f"{i}_bits.png")
        save(rgb.convert("CMYK"), f"{i}_cmyk.jpg")
    return files


def centre(image, height, width):
    """torchvision's CenterCrop."""
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))


def expected(image, policy, height, width, filter_):
    """What Pillow makes of it."""
    if policy == "stretch":
        return image.resize((width, height), filter_)
    if policy == "short-side":
        short, side = min(image.size), min(height, width)
        size = [side if s == short else int(side * s / short) for s in image.size]
        return centre(image.resize(size, filter_), height, width)
    scale = min(width / image.width, height / image.height)
    size = [max(1, int(s * scale + 0.5)) for s in image.size]
    canvas = Image.new("RGB", (width, height), (FILL,) * 3)
    canvas.paste(image.resize(size, filter_), ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def cases(files):
    """(file, policy, height, width, filter): every file decoded, and scaled where that can be."""
    for file in files:
        yield file, "none", 0, 0, "bilinear"
        with Image.open(file) as image:
            small = min(image.size)
        for policy, height, width in TARGETS:
            if policy == "short-side" and (small < 8 or min(height, width) != max(height, width)):
                continue
            for filter_ in ("bilinear", "bicubic"):
                yield file, policy, height, width, filter_


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    default = os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared" / "bench-data")
    photos = pathlib.Path(sys.argv[3] if sys.argv[2:3] == ["--data"] else default) / "photos"
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files = draw(folder) + sorted(photos.glob("*.jpg"))
        todo = list(cases(files))
        lines = [f"{file} {policy} {height} {width} {filter_} {folder}/{i}.npy"
                 for i, (file, policy, height, width, filter_) in enumerate(todo)]
        subprocess.run([program], input="\n".join(lines), text=True, check=True)
        worst, failures = 0, 0
        for i, (file, policy, height, width, filter_) in enumerate(todo):
            with Image.open(file) as image:
                wanted = image.convert("RGB")
            if height:
                wanted = expected(wanted, policy, height, width, filters[filter_])
            wanted = numpy.asarray(wanted).astype(int)
            got = numpy.load(folder / f"{i}.npy").astype(int)
            difference = abs(got - wanted).max() if got.shape == wanted.shape else 256
            worst = max(worst, difference)
            if difference > 1:
                failures += 1
                print(f"{file.name} {policy} {height}x{width} {filter_}: {difference} levels")
    print(f"pillow: {len(todo)} results from {len(files)} images, largest difference {worst}, "
          f"{failures} failures")
    return 1 if failures or not todo else 0


if __name__ == "__main__":
    sys.exit(main())
