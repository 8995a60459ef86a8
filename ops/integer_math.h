#pragma once

#include <type_traits>

namespace pare {

// Arithmetic that wraps around in every integer type, as numpy's and ONNX Runtime's does, without
// C++'s undefined overflow; for floats it is the plain operation.

namespace detail {
template <typename T, typename F>
T wrapped(T a, T b, F f) {
  if constexpr (std::is_floating_point_v<T>) {
    return f(a, b);
  } else {  // At least unsigned: narrower ones would be promoted to int again.
    using U = std::common_type_t<std::make_unsigned_t<T>, unsigned>;
    return static_cast<T>(f(static_cast<U>(a), static_cast<U>(b)));
  }
}
}  // namespace detail

template <typename T>
T wrap_add(T a, T b) {
  return detail::wrapped(a, b, [](auto x, auto y) { return x + y; });
}

template <typename T>
T wrap_subtract(T a, T b) {
  return detail::wrapped(a, b, [](auto x, auto y) { return x - y; });
}

template <typename T>
T wrap_multiply(T a, T b) {
  return detail::wrapped(a, b, [](auto x, auto y) { return x * y; });
}

}  // namespace pare
