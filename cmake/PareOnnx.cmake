# The protobuf classes of ONNX files (target onnx; it brings the definitions its headers need).
find_package(Protobuf REQUIRED)
find_package(ONNX REQUIRED CONFIG)
