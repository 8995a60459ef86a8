#include "tensor/gemm.h"

#include <dnnl.h>
#include <omp.h>

#include "support/error.h"

namespace pare {

void gemm(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  omp_set_num_threads(1);  // Sets the calling thread's own count.
  const auto flag = [](Transpose t) { return t == Transpose::kYes ? 'T' : 'N'; };
  const dnnl_status_t status =
      dnnl_sgemm(flag(ta), flag(tb), m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
  PARE_CHECK(status == dnnl_success, "dnnl_sgemm refused its arguments");
}

}  // namespace pare
