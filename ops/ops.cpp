#include "ops/ops.h"

namespace pare {

#define PARE_OP(name) extern const OpDef k##name;
#include "ops/op_list.h"
#undef PARE_OP

const OpTable& onnx_ops() {
  static constexpr const OpDef* kRows[] = {
#define PARE_OP(name) &k##name,
#include "ops/op_list.h"
#undef PARE_OP
  };
  static const OpTable kTable{kRows};
  return kTable;
}

}  // namespace pare
