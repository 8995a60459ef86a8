#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "tensor/tensor.h"

namespace pare {

/// Reads a NumPy .npy file (format 1.0 to 3.0, C order, little-endian numbers or bools).
///
/// The file is mapped, not read: the tensor's bytes are the file's where they are aligned. Throws
/// Error(kInput) naming file, fact and expectation; header and size are checked against the file.
/// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
Tensor read_npy(const std::string& path);

/// The same from bytes in memory that `owner` keeps alive; `name` stands for them in messages.
Tensor parse_npy(const std::string& name, std::shared_ptr<const void> owner,
                 std::span<const std::byte> bytes);

/// Reads every array of a .npz archive, by name without ".npy". Held in memory.
std::map<std::string, Tensor> read_npz(const std::string& path);

/// Writes a tensor as .npy, whole or not at all. Throws Error(kUsage) when `path` cannot be
/// written, Error(kUnsupported) for element types NumPy does not have.
void write_npy(const std::string& path, const Tensor& tensor);

}  // namespace pare
