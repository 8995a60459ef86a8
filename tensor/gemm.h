#pragma once

#include <cstdint>

namespace pare {

enum class Transpose : uint8_t { kNo, kYes };

/// C = op(A) op(B) + beta C in float, row-major; op(A) is [m, k], op(B) [k, n], C [m, n].
///
/// `lda`, `ldb`, `ldc` are row strides in elements of A, B and C as stored. Runs on the calling
/// thread only, so that image-parallel workers do not fight; the result depends on the operands
/// only. oneDNN's sgemm does the work, with kernels for the instruction set it finds.
void gemm(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

}  // namespace pare
