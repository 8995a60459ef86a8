#!/usr/bin/env python3
"""Top-1 of the trained networks of the bench data by `pare evaluate`, beside the figure known.

    bench/engine/accuracy.py [--pare build/release/cli/pare]

Needs PARE_BENCH_DATA (default ../shared/bench-data) and no Python package. Known figures were
measured with ONNX Runtime on the files themselves. Exit status 1 where one differs by more than
0.5 points, which is what another decoder and crop may do to 1000 ImageNet images.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 0.5
CIFAR = ["--scale", "0.00392156862745098", "--mean", "0.485,0.456,0.406",
         "--std", "0.229,0.224,0.225"]
JPEG = ["--preset", "imagenet", "--crop-ratio", "1"]
LOSSLESS = ("cifar10/test1000_lossless_x.npy", "cifar10/test1000_lossless_y.npy")
CIFAR_JPEG = ("cifar10/cifar10_test_jpg.tar.zst", None)
IMAGENET = ("imagenet1000/crop256_q95.tar", "imagenet1000/y.npy")
KWS = ("kws/test1000_x_f32.npy", "kws/test1000_y.npy")
TF = ["--preset", "imagenet-tf"]
# Model, (samples, labels), options, top-1 known.
CASES = (
    ("cifar10/resnet20_cifar10_op13_bn", LOSSLESS, CIFAR, 91.5),
    ("cifar10/resnet20_cifar10_op17_folded", LOSSLESS, CIFAR, 91.5),
    ("cifar10/resnet20_cifar10_op13_bn", CIFAR_JPEG, JPEG, 81.03),
    ("cifar10/resnet56_cifar10_op13_bn", LOSSLESS, CIFAR, 92.6),
    ("cifar10/resnet56_cifar10_op13_folded", LOSSLESS, CIFAR, 92.6),
    ("cifar10/resnet56_cifar10_op13_bn", CIFAR_JPEG, JPEG, 83.2),
    ("cifar10/resnet20_cifar10jpg_op13_bn", LOSSLESS, CIFAR, 90.2),
    ("cifar10/resnet20_cifar10jpg_op13_bn", CIFAR_JPEG, JPEG, 87.28),
    ("mlperf_tiny/resnet8_cifar10_bn", LOSSLESS, [], 88.1),
    ("mlperf_tiny/resnet8_cifar10_folded", LOSSLESS, [], 88.1),
    ("mlperf_tiny/resnet8_cifar10_qdq", LOSSLESS, [], 87.7),
    ("mlperf_tiny/kws_dscnn_folded", KWS, [], 90.1),
    ("mlperf_tiny/kws_dscnn_qdq", KWS, [], 90.2),
    ("imagenet/mobilenet_v1_0.25_224_keras_bn", IMAGENET, TF, 59.2),
    ("imagenet/tf2_mobilenet_v2_1.0_224_ptq_float", IMAGENET, [*TF, "--label-offset", "1"], 89.3),
    ("imagenet/tf2_mobilenet_v2_1.0_224_ptq_qdq", IMAGENET, [*TF, "--label-offset", "1"], 89.8),
    ("imagenet/mobilenet_v1_0.25_128_quant_qdq", IMAGENET, [*TF, "--label-offset", "1"], 44.2),
)


def main():
    """Prints a table and says whether all agree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    differ = 0
    print("| network | samples | known | pare |\n|---|---|---|---|")
    for model, (samples, labels), preparation, known in CASES:
        command = [options.pare, "evaluate", data / "models" / f"{model}.onnx", "--data",
                   data / samples, "--limit", "0", "--json", *preparation]
        if labels:
            command += ["--labels", data / labels]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        top1 = 100 * json.loads(result.stdout)["top1"]
        differ += abs(top1 - known) > TOLERANCE
        print(f"| {model} | {samples} | {known} | {top1:.2f} |", flush=True)
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
