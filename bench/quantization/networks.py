"""The networks of the quantization bench: model, samples to calibrate on and to judge by, labels.

Samples are float32 arrays as the network takes them, the same for every tool. Where there is one
set of images only, the quarter that calibrates is not judged by.
"""

import io
import tarfile

import numpy
from PIL import Image

CIFAR_MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32).reshape(3, 1, 1)
CIFAR_STD = numpy.array([0.229, 0.224, 0.225], numpy.float32).reshape(3, 1, 1)


def spread(total, count):
    """`count` indices spread evenly over [0, total)."""
    return (numpy.arange(count) * total) // count


def quarter(total):
    """Every fourth index (to calibrate), up to 256 of them, and the others (to judge)."""
    chosen = spread(total, min(256, total // 4))
    return chosen, numpy.setdiff1d(numpy.arange(total), chosen)


def cifar(data, normalized=True):
    """CIFAR-10: 256 of 4000 training images, 1000 test images."""
    def read(name):
        x = numpy.load(data / f"cifar10/{name}_lossless_x.npy").astype(numpy.float32)
        return (x / 255 - CIFAR_MEAN) / CIFAR_STD if normalized else x
    train = read("train4000")
    return (train[spread(len(train), 256)], read("test1000"),
            numpy.load(data / "cifar10/test1000_lossless_y.npy").astype(int))


def pictures(data):
    """The 1000 ImageNet images in the order of their names."""
    with tarfile.open(data / "imagenet1000/crop256_q95.tar") as archive:
        members = sorted((m for m in archive if m.name.endswith(".jpg")), key=lambda m: m.name)
        return [Image.open(io.BytesIO(archive.extractfile(m).read())).convert("RGB")
                for m in members]


def as_array(image, size, crop, bgr):
    """[3, H, W] from 0 to 255: the middle of the image, or all of it scaled."""
    height, width = size
    if crop:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    x = numpy.asarray(image, numpy.float32).transpose(2, 0, 1)
    return x[::-1] if bgr else x


def imagenet(data, size, numbers, offset=0, crop=True, bgr=False):
    """256 ImageNet images to calibrate, the other 744 to judge."""
    x = numpy.stack([numbers(as_array(image, (size, size), crop, bgr)) for image in pictures(data)])
    labels = numpy.load(data / "imagenet1000/y.npy").astype(int) + offset
    calibrate, judge = quarter(len(x))
    return x[calibrate], x[judge], labels[judge]


def caffe(x):
    """Blue, green, red minus their means."""
    return x - numpy.array([104, 117, 123], numpy.float32).reshape(3, 1, 1)


def signed(x):
    """From -1 to 1."""
    return x / 127.5 - 1


def keywords(data):
    """Speech Commands: a quarter of 1000 to calibrate, 750 to judge."""
    x = numpy.load(data / "kws/test1000_x_f32.npy").astype(numpy.float32).reshape(-1, 1, 49, 10)
    labels = numpy.load(data / "kws/test1000_y.npy").astype(int)
    calibrate, judge = quarter(len(x))
    return x[calibrate], x[judge], labels[judge]


def transformer(data):
    """Four recordings' features, shifted in time and mixed; no labels."""
    base = numpy.load(data / "kws/wav4_mfcc_f32.npy").astype(numpy.float32).reshape(-1, 98, 40)
    random = numpy.random.default_rng(0)
    samples = []
    for i in range(512):
        a = numpy.roll(base[i % 4], random.integers(-20, 21), axis=0)
        b = numpy.roll(base[random.integers(4)], random.integers(-20, 21), axis=0)
        share = random.uniform(0, 0.45)
        samples.append((1 - share) * a + share * b)
    x = numpy.stack(samples).astype(numpy.float32)
    return x[0::2], x[1::2], None


def segments(data, of_thirty=1):
    """DeepLab: the first `of_thirty` (up to 10) of every thirty images to calibrate, up to 32 times
    as many; 32 others to judge."""
    images = pictures(data)[:960]

    def arrays(chosen):
        return numpy.stack([signed(as_array(i, (513, 513), False, False)) for i in chosen])
    return arrays([x for i, x in enumerate(images) if i % 30 < of_thirty]), arrays(images[10::30]), None


def detector(data, size, numbers, bgr, stride=8):
    """Every eighth ImageNet image (or as `stride` says) and no photo to calibrate, the 13 photos to
    judge."""
    images = pictures(data)[::stride]
    x = numpy.stack([numbers(as_array(i, size, False, bgr)) for i in images])
    photos = [Image.open(p).convert("RGB") for p in sorted((data / "photos").glob("*.jpg"))]
    return x, numpy.stack([numbers(as_array(p, size, False, bgr)) for p in photos]), None


def yolo_scores(outputs):
    """Objectness of every anchor, at both scales."""
    return numpy.concatenate([o[..., 12:15].ravel() for o in outputs])


# Name: file, samples, what the outputs are: "classes", "map" of class numbers, or a function that
# picks the scores of a detector.
NETWORKS = {
    "ResNet-20": ("cifar10/resnet20_cifar10_op13_bn", cifar, "classes"),
    "ResNet-56": ("cifar10/resnet56_cifar10_op13_bn", cifar, "classes"),
    "ResNet-8": ("mlperf_tiny/resnet8_cifar10_bn", lambda d: cifar(d, False), "classes"),
    "DS-CNN": ("mlperf_tiny/kws_dscnn_folded", keywords, "classes"),
    "KWT-1": ("transformer/kwt1_transformer_op13", transformer, "classes"),
    "MobileNetV1 0.25": ("imagenet/mobilenet_v1_0.25_224_keras_bn",
                         lambda d: imagenet(d, 224, signed), "classes"),
    "MobileNetV2": ("imagenet/tf2_mobilenet_v2_1.0_224_ptq_float",
                    lambda d: imagenet(d, 224, signed, offset=1), "classes"),
    "SqueezeNet 1.1": ("imagenet/squeezenet_v1.1_ncnnfp16",
                       lambda d: imagenet(d, 227, caffe, bgr=True), "classes"),
    "DeepLab": ("segment/deeplabv3_mnv2_dm05_pascal_quant_float", segments, "map"),
    "RFB-320": ("detect/version-RFB-320_without_postprocessing",
                lambda d: detector(d, (240, 320), lambda x: (x - 127) / 128, False),
                lambda outputs: outputs[0][..., 1].ravel()),
    "FastestDet": ("detect/FastestDet",
                   lambda d: detector(d, (352, 352), lambda x: x / 255, True),
                   lambda outputs: outputs[0][:, 0].ravel()),
    "YOLO-FastestV2": ("detect/yolo_fastestv2_coco",
                       lambda d: detector(d, (352, 352), lambda x: x / 255, True), yolo_scores),
}
