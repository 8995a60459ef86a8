#pragma once

#include <cstdint>

#include "tensor/gemm.h"

namespace pare {

/// gemm() for element types it has no kernel for (double, integers): plain loops, same contract.
/// Integers wrap around as unsigned arithmetic does.
template <typename T>
void gemm(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
          const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  const int64_t a_row = ta == Transpose::kNo ? lda : 1, a_column = ta == Transpose::kNo ? 1 : lda;
  const int64_t b_row = tb == Transpose::kNo ? ldb : 1, b_column = tb == Transpose::kNo ? 1 : ldb;
  for (int64_t i = 0; i < m; ++i) {
    T* row = c + i * ldc;
    for (int64_t j = 0; j < n; ++j) row[j] = beta == T{0} ? T{0} : static_cast<T>(row[j] * beta);
    for (int64_t p = 0; p < k; ++p) {
      const T factor = a[i * a_row + p * a_column];
      for (int64_t j = 0; j < n; ++j)
        row[j] = static_cast<T>(row[j] + factor * b[p * b_row + j * b_column]);
    }
  }
}

}  // namespace pare
