#include "calib/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "support/file.h"

namespace pare {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
/// Where the header's text starts at the latest: magic, version, four bytes of length.
constexpr size_t kPrefix = 12;
/// Elements start at a multiple of this, so that a mapped file can be used in place.
constexpr size_t kAlignment = 64;

struct DescrRow {
  std::string_view descr;  ///< Without the byte order.
  DType dtype;
};
constexpr std::array kDescrs = {
    DescrRow{"f2", DType::kF16}, DescrRow{"f4", DType::kF32}, DescrRow{"f8", DType::kF64},
    DescrRow{"i1", DType::kI8},  DescrRow{"i2", DType::kI16}, DescrRow{"i4", DType::kI32},
    DescrRow{"i8", DType::kI64}, DescrRow{"u1", DType::kU8},  DescrRow{"u2", DType::kU16},
    DescrRow{"u4", DType::kU32}, DescrRow{"u8", DType::kU64}, DescrRow{"b1", DType::kBool},
};

[[noreturn]] void fail(const std::string& name, const std::string& fact) {
  throw Error(ErrorKind::kInput, name + ": " + fact);
}

/// Reads the Python dictionary literal of a header: strings, True, False and tuples of integers.
class HeaderText {
 public:
  HeaderText(const std::string& name, std::string_view text) : name_(name), text_(text) {}

  struct Fields {
    std::optional<std::string> descr;
    std::optional<bool> fortran;
    std::optional<Shape> shape;
  };

  Fields fields() {
    Fields fields;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        if (peek() == '[') fail(name_, "holds structured elements, expected plain numbers");
        fields.descr = quoted();
      } else if (key == "fortran_order") {
        fields.fortran = boolean();
      } else if (key == "shape") {
        fields.shape = shape();
      } else {
        malformed();
      }
      if (!accept(',') && peek() != '}') malformed();
    }
    return fields;
  }

 private:
  [[noreturn]] void malformed() const {
    fail(name_,
         "has a malformed .npy header, expected a dictionary of descr, fortran_order, shape");
  }
  char peek() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \t\n"), text_.size()));
    return text_.empty() ? '\0' : text_.front();
  }
  bool accept(char c) {
    if (peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) malformed();
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') malformed();
    const size_t end = text_.find(quote, 1);
    if (end == std::string_view::npos) malformed();
    std::string word(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return word;
  }
  bool boolean() {
    peek();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return word == "True";
    }
    malformed();
  }
  Shape shape() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      peek();
      int64_t extent = 0;
      const auto [end, failure] =
          std::from_chars(text_.data(), text_.data() + text_.size(), extent);
      if (failure != std::errc() || extent < 0 || shape.size() == 64) malformed();
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      accept('L');  // Python 2 wrote long integers so.
      shape.push_back(extent);
      if (!accept(',') && peek() != ')') malformed();
    }
    return shape;
  }

  const std::string& name_;
  std::string_view text_;
};

DType parse_descr(const std::string& name, const std::string& descr) {
  const bool has_order =
      !descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos;
  const std::string_view kind = std::string_view(descr).substr(has_order ? 1 : 0);
  const auto row = std::ranges::find(kDescrs, kind, &DescrRow::descr);
  if (row == kDescrs.end())
    fail(name, "holds elements of type '" + descr + "', expected integers, floats or bools");
  if (descr[0] == '>' && element_size(row->dtype) > 1)
    fail(name,
         "is big-endian ('" + descr + "'), expected little-endian ('<" + std::string(kind) + "')");
  return row->dtype;
}

uint32_t little_endian(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<uint32_t>(bytes[i]);
  return value;
}

/// The header's text, and where the elements begin.
std::pair<std::string_view, size_t> header_text(const std::string& name,
                                                std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic)) fail(name, "is no .npy file, its first bytes are not \\x93NUMPY");
  if (text.size() < kPrefix) fail(name, "ends inside its .npy header");
  const auto version = std::to_integer<int>(bytes[6]);
  if (version < 1 || version > 3)
    fail(name, "is .npy format " + std::to_string(version) + ", expected 1, 2 or 3");
  const size_t length_bytes = version == 1 ? 2 : 4;
  const size_t begin = 8 + length_bytes;
  const size_t length = little_endian(bytes.subspan(8, length_bytes));
  if (length > text.size() - begin) fail(name, "ends inside its .npy header");
  return {text.substr(begin, length), begin + length};
}

}  // namespace

Tensor parse_npy(const std::string& name, std::shared_ptr<const void> owner,
                 std::span<const std::byte> bytes) {
  const auto [text, begin] = header_text(name, bytes);
  const HeaderText::Fields fields = HeaderText(name, text).fields();
  if (!fields.descr || !fields.fortran || !fields.shape)
    fail(name, "has a .npy header without descr, fortran_order or shape");
  const DType dtype = parse_descr(name, *fields.descr);
  if (*fields.fortran && fields.shape->size() > 1)
    fail(name, "is in Fortran order, expected C order (numpy.ascontiguousarray before saving)");
  const int64_t count =
      with_context([&] { return name; }, [&] { return element_count(*fields.shape); });
  const size_t size = element_size(dtype), room = bytes.size() - begin;
  if (static_cast<size_t>(count) > room / size || static_cast<size_t>(count) * size != room)
    fail(name, "holds " + std::to_string(room) + " bytes of elements, its header says " +
                   to_string(TensorType{dtype, *fields.shape}));

  const std::span<const std::byte> elements = bytes.subspan(begin);
  if (dtype == DType::kBool &&
      std::ranges::any_of(elements, [](std::byte b) { return b > std::byte{1}; }))
    fail(name, "holds bools that are neither 0 nor 1");
  if (reinterpret_cast<uintptr_t>(elements.data()) % size == 0)
    return Tensor::view(dtype, *fields.shape, std::move(owner), elements);
  Tensor tensor = Tensor::uninitialized(dtype, *fields.shape);
  std::ranges::copy(elements, tensor.mutable_bytes().begin());
  return tensor;
}

Tensor read_npy(const std::string& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  return parse_npy(path, file, file->bytes());
}

void write_npy(const std::string& path, const Tensor& tensor) {
  const auto row = std::ranges::find(kDescrs, tensor.dtype(), &DescrRow::dtype);
  if (row == kDescrs.end())
    throw Error(ErrorKind::kUnsupported, path + ": elements are " +
                                             std::string(to_string(tensor.dtype())) +
                                             ", which .npy files do not have");
  std::string shape;
  for (const int64_t extent : tensor.shape()) shape += std::to_string(extent) + ", ";
  if (tensor.shape().size() > 1) shape.resize(shape.size() - 2);
  const bool one_byte = element_size(tensor.dtype()) == 1;
  std::string text = "{'descr': '" + std::string(one_byte ? "|" : "<") + std::string(row->descr) +
                     "', 'fortran_order': False, 'shape': (" + shape + "), }";
  const size_t begin = 10;  // Of the text in format 1.0.
  while ((begin + text.size() + 1) % kAlignment != 0) text += ' ';
  text += '\n';
  std::string header = std::string(kMagic) + '\x01' + '\0' + static_cast<char>(text.size() & 0xff) +
                       static_cast<char>(text.size() >> 8) + text;
  write_file(path, [&](const auto& append) {
    append(std::as_bytes(std::span(header)));
    append(tensor.bytes());
  });
}

}  // namespace pare
