#!/usr/bin/env python3
"""Reduces COCO detectors to person and car and compares their boxes on photos.

    class_boxes.py PARE [--data DIR]

FastestDet and Yolo-FastestV2 of DIR/models/detect score their classes with a Softmax, so with the others merged
(others: merge) every box of a person or car that the original finds on DIR/photos must be found again, and no
other: IoU above 0.9, score within 0.02. What dropping the others does instead is printed beside. Exit 1 when
boxes differ, 77 where onnx, onnxruntime or the data are not there.
"""

import pathlib
import subprocess
import sys
import tempfile

# First: it starts over in build/venv where onnx is not installed.
from roundtrip import parser_of, session_of

import numpy
from onnxruntime import GraphOptimizationLevel
from PIL import Image

KEEP = (0, 2)  # person, car
SIDE, SKIPPED = 352, 77
IOU, SCORE, SUPPRESS = 0.9, 0.02, 0.45
ANCHORS = (((12.64, 19.39), (37.88, 51.48), (55.71, 138.31)), ((126.91, 78.23), (131.57, 214.55), (279.92, 258.87)))


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def fastest_det(outputs):
    """Boxes [B, 4] (corners, of the image's side), scores and classes."""
    out = outputs[0][0]
    rows, columns = numpy.mgrid[:out.shape[1], :out.shape[2]]
    size = numpy.array(out.shape[1:])[:, None, None]
    centre = (numpy.stack([columns, rows]) + numpy.tanh(out[1:3])) / size
    half = sigmoid(out[3:5]) / 2
    scores = out[0] ** 0.6 * out[5:].max(0) ** 0.4
    boxes = numpy.concatenate([centre - half, centre + half]).reshape(4, -1).T
    return boxes, scores.reshape(-1), out[5:].argmax(0).reshape(-1), 0.65


def yolo_fastest(outputs):
    """The same of Yolo-FastestV2."""
    boxes, scores, classes = [], [], []
    for out, anchors in zip((o[0] for o in outputs), ANCHORS):
        rows, columns = numpy.mgrid[:out.shape[0], :out.shape[1]]
        for a, anchor in enumerate(anchors):
            box = out[..., 4 * a:4 * a + 4]
            centre = (numpy.stack([columns, rows], -1) + box[..., :2] * 2 - 0.5) / out.shape[0]
            half = (box[..., 2:] * 2) ** 2 * numpy.array(anchor) / SIDE / 2
            boxes.append(numpy.concatenate([centre - half, centre + half], -1).reshape(-1, 4))
            scores.append((out[..., 12 + a] * out[..., 15:].max(-1)).reshape(-1))
            classes.append(out[..., 15:].argmax(-1).reshape(-1))
    return numpy.concatenate(boxes), numpy.concatenate(scores), numpy.concatenate(classes), 0.3


DETECTORS = {"FastestDet": fastest_det, "yolo_fastestv2_coco": yolo_fastest}


def iou(a, b):
    """Of two boxes."""
    low, high = numpy.maximum(a[:2], b[:2]), numpy.minimum(a[2:], b[2:])
    common = numpy.prod(numpy.maximum(high - low, 0))
    return common / (numpy.prod(a[2:] - a[:2]) + numpy.prod(b[2:] - b[:2]) - common)


def detections(session, decode, image, classes):
    """[(class, score, box)] of the wanted classes after suppression in each."""
    boxes, scores, best, threshold = decode(session.run(None, {session.get_inputs()[0].name: image}))
    found = []
    for i in numpy.argsort(-scores):
        if scores[i] < threshold or best[i] not in classes:
            continue
        kind = classes.index(best[i])
        if all(kind != other or iou(boxes[i], box) <= SUPPRESS for other, _, box in found):
            found.append((kind, scores[i], boxes[i]))
    return found


def unmatched(a, b):
    """How many of `a` are not in `b`."""
    return sum(not any(kind == other and abs(score - s) <= SCORE and iou(box, c) >= IOU for other, s, c in b)
               for kind, score, box in a)


def read(path):
    """[1, 3, SIDE, SIDE], blue first."""
    pixels = numpy.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return numpy.ascontiguousarray(pixels[None, :, :, ::-1].transpose(0, 3, 1, 2), numpy.float32) / 255


def compare(pare, model, decode, photos, others, target):
    """Boxes of the original, boxes of the reduced one, and how many of each the other lacks."""
    subprocess.run([pare, "optimize", model, "-o", target, "-q", "--keep-classes", ",".join(map(str, KEEP)),
                    "--others", others], check=True, capture_output=True)
    before, after = (session_of(path, GraphOptimizationLevel.ORT_ENABLE_ALL) for path in (model, target))
    counts = numpy.zeros(4, int)
    for photo in photos:
        image = read(photo)
        a = detections(before, decode, image, list(KEEP))
        b = detections(after, decode, image, list(range(len(KEEP))))
        counts += (len(a), len(b), unmatched(a, b), unmatched(b, a))
    return counts


def main():
    """Exit code."""
    parser = parser_of(__doc__, "pare")
    options = parser.parse_args()
    photos = sorted((options.data / "photos").glob("*.jpg"))
    if not photos:
        print("skipped: no photos")
        return SKIPPED
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        target = pathlib.Path(scratch) / "reduced.onnx"
        for name, decode in DETECTORS.items():
            for others in ("merge", "drop"):
                model = options.data / "models/detect" / f"{name}.onnx"
                a, b, lost, more = compare(options.pare, model, decode, photos, others, target)
                bad = others == "merge" and (lost or more or not a)
                failed |= bool(bad)
                print(f"{'FAIL ' if bad else 'ok   '} {name}, others {others}: {a} boxes, then {b}: {lost} not found "
                      f"again, {more} new")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
