#include "exec/plan.h"

#include <omp.h>

#include <chrono>
#include <mutex>

#include "exec/plan_builder.h"

namespace pare {
namespace {

/// Groups are tried with each of these in turn; what none takes is evaluated node by node.
constexpr bool (*kLowerings[])(PlanBuilder&, const FusedNode&) = {
    lower_quantized, lower_convolution, lower_inner_product, lower_matmul,
    lower_pooling,   lower_elementwise, lower_normalization, lower_movement};

/// Memory of one run.
struct Frame {
  struct Free {
    void operator()(void* block) const { ::operator delete (block, std::align_val_t{64}); }
  };
  using Block = std::unique_ptr<void, Free>;

  explicit Frame(const PlanCode& code);

  static Block allocate(size_t bytes) {
    return Block(::operator new (std::max<size_t>(bytes, 64), std::align_val_t{64}));
  }
  bool in_arena(const void* address) const {
    const auto at = reinterpret_cast<uintptr_t>(address);
    const auto begin = reinterpret_cast<uintptr_t>(arena.get());
    return at >= begin && at < begin + arena_bytes;
  }

  size_t arena_bytes;
  Block arena, scratchpad;
  dnnl::stream stream;
  std::vector<dnnl::memory> memories;  ///< By slot; empty where oneDNN cannot see it.
  std::vector<Tensor> tensors;         ///< By slot, of inputs and results of evaluate().
  std::vector<std::unordered_map<int, dnnl::memory>> arguments;  ///< By step.
};

Frame::Frame(const PlanCode& code)
    : arena_bytes(code.arena_bytes),
      arena(allocate(code.arena_bytes)),
      scratchpad(allocate(code.scratchpad_bytes)),
      stream(code.engine),
      memories(code.slots.size()),
      tensors(code.slots.size()),
      arguments(code.steps.size()) {
  for (SlotId i = 0; i < code.slots.size(); ++i) {
    const Slot& slot = code.slots[i];
    if (slot.desc == Desc()) continue;
    void* data = nullptr;
    if (slot.home == Home::kArena)
      data = static_cast<char*>(arena.get()) + code.offsets[slot.place];
    // Primitives only read weights.
    if (slot.home == Home::kConstant) data = const_cast<void*>(code.constants[slot.place].data);
    memories[i] = dnnl::memory(slot.desc, code.engine, data);
  }
  for (size_t i = 0; i < code.steps.size(); ++i) {
    const Step& step = code.steps[i];
    if (!step.primitive) continue;
    for (const auto& [argument, slot] : step.arguments) arguments[i][argument] = memories[slot];
    if (step.scratchpad.get_size() > 0)
      arguments[i][DNNL_ARG_SCRATCHPAD] =
          dnnl::memory(step.scratchpad, code.engine, scratchpad.get());
  }
}

Tensor deep_copy(const Tensor& tensor) {
  Tensor copy = Tensor::uninitialized(tensor.dtype(), tensor.shape());
  std::ranges::copy(tensor.bytes(), copy.mutable_bytes().begin());
  return copy;
}

/// One run of a plan.
class Run {
 public:
  Run(const PlanCode& code, Frame& frame, const ValueHook& hook)
      : code_(code), frame_(frame), hook_(hook) {}

  void set_inputs(const std::vector<Tensor>& inputs) {
    const Graph& graph = code_.graph;
    PARE_CHECK(inputs.size() == graph.inputs().size(), "wrong number of inputs");
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Value& value = graph.value(graph.inputs()[i]);
      if (inputs[i].type() != value.type)
        throw Error(ErrorKind::kInput,
                    "input '" + value.name + "' is " + to_string(inputs[i].type()) +
                        ", but the plan was compiled for " + to_string(value.type));
      set(code_.inputs[i], inputs[i]);
      if (hook_) hook_(graph.inputs()[i], inputs[i]);
    }
  }

  void step(size_t position) {
    const Step& step = code_.steps[position];
    if (step.primitive) {
      try {
        step.primitive.execute(frame_.stream, frame_.arguments[position]);
      } catch (const dnnl::error& error) {
        throw Error(ErrorKind::kInternal,
                    code_.infos[position].kind + ": oneDNN says '" + error.what() + "'");
      }
    } else if (step.reshape) {
      set(*step.outputs[0], frame_.tensors[*step.inputs[0]].reshaped(*step.reshape));
    } else {
      with_context([&] { return describe(*step.node); }, [&] { evaluate_node(step); });
    }
    if (hook_) {
      for (const auto& [value, slot] : step.observed)
        hook_(value, view_of(slot, code_.graph.type(value)));
    }
    for (SlotId slot : step.dying) frame_.tensors[slot] = Tensor();
  }

  std::vector<Tensor> outputs() {
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < code_.outputs.size(); ++i) {
      const ValueId id = code_.graph.outputs()[i];
      if (const Tensor* constant = code_.graph.constant(id)) {
        outputs.push_back(*constant);
        continue;
      }
      const Tensor view = view_of(code_.outputs[i], code_.graph.type(id));
      outputs.push_back(frame_.in_arena(view.bytes().data()) ? deep_copy(view) : view);
    }
    for (Tensor& tensor : frame_.tensors) tensor = Tensor();
    return outputs;
  }

 private:
  void set(SlotId slot, Tensor tensor) {
    // Primitives only read what they did not make.
    auto* data = const_cast<std::byte*>(tensor.bytes().data());
    if (frame_.memories[slot]) frame_.memories[slot].set_data_handle(data);
    for (SlotId alias : code_.slots[slot].aliases) frame_.memories[alias].set_data_handle(data);
    frame_.tensors[slot] = std::move(tensor);
  }

  /// The bytes of a slot as a tensor; those in the arena are good until the next step.
  Tensor view_of(SlotId id, const TensorType& type) const {
    const Slot& slot = code_.slots[id];
    if (slot.home != Home::kArena) return frame_.tensors[id];
    const auto count = static_cast<size_t>(element_count(type.shape)) * element_size(type.dtype);
    return Tensor::view(
        type.dtype, type.shape, nullptr,
        {static_cast<const std::byte*>(frame_.memories[id].get_data_handle()), count});
  }

  void evaluate_node(const Step& step) {
    const Node& node = *step.node;
    std::vector<Tensor> views(node.inputs.size());
    std::vector<const Tensor*> operands;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (step.inputs[i]) views[i] = view_of(*step.inputs[i], code_.graph.type(node.inputs[i]));
      operands.push_back(step.inputs[i] ? &views[i] : code_.graph.constant(node.inputs[i]));
    }
    std::vector<Tensor> results = evaluate(node, operands);
    for (size_t i = 0; i < node.outputs.size() && i < results.size(); ++i) {
      if (!step.outputs[i]) continue;
      const TensorType& expected = code_.graph.type(node.outputs[i]);
      PARE_CHECK(!frame_.memories[*step.outputs[i]] || results[i].type() == expected,
                 "an operator's result is " + to_string(results[i].type()) + ", was inferred as " +
                     to_string(expected));
      set(*step.outputs[i],
          frame_.in_arena(results[i].bytes().data()) ? deep_copy(results[i]) : results[i]);
    }
  }

  const PlanCode& code_;
  Frame& frame_;
  const ValueHook& hook_;
};

}  // namespace

class Plan::Impl {
 public:
  Impl(Graph graph, const PlanOptions& options, bool packs)
      : code{.graph = std::move(graph), .packs = packs} {
    set_extents(options.input_shapes);
    omp_set_num_threads(1);  // Primitives are made for a number of threads.
    std::vector<bool> observed(code.graph.value_count());
    for (ValueId id : options.observed) observed[index(id)] = true;
    const std::vector<FusedNode> groups = fuse(code.graph, observed);
    PlanBuilder builder(code, options.order);
    builder.count_uses(groups);
    size_t position = 0;
    for (const FusedNode& group : groups) {
      lower(builder, group, position);
      builder.finish_group(group, observed);
      position += group.nodes.size();
    }
    builder.finish();
  }

  template <typename Time>
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, const ValueHook& hook, Time&& time) {
    omp_set_num_threads(1);
    std::unique_ptr<Frame> frame = take_frame();
    Run run(code, *frame, hook);
    run.set_inputs(inputs);
    for (size_t i = 0; i < code.steps.size(); ++i) time(i, [&] { run.step(i); });
    std::vector<Tensor> outputs = run.outputs();
    const std::lock_guard lock(mutex_);
    frames_.push_back(std::move(frame));
    return outputs;
  }

  PlanCode code;

 private:
  void set_extents(const std::vector<Shape>& shapes) {
    if (shapes.empty()) return;
    PARE_CHECK(shapes.size() == code.graph.inputs().size(), "wrong number of input shapes");
    bool changed = false;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const ValueId id = code.graph.inputs()[i];
      if (code.graph.type(id).shape == shapes[i]) continue;
      code.graph.set_input_shape(id, shapes[i]);
      changed = true;
    }
    if (changed) code.graph.infer_types();
  }

  /// `position` is the first node's, of all groups' nodes in order.
  static void lower(PlanBuilder& builder, const FusedNode& group, size_t position) {
    builder.start(position + group.nodes.size() - 1);
    for (const auto& lowering : kLowerings) {
      try {
        if (lowering(builder, group)) return;
      } catch (const dnnl::error&) {
        continue;  // Refused before the result was defined; a reorder may be left over.
      }
    }
    if (group.nodes.size() == 1) return builder.add_eval(group.anchor);
    for (NodeId id : group.nodes) {
      const Node& node = builder.graph().node(id);
      lower(builder, {.anchor = id, .nodes = {id}, .output = node.outputs[0]}, position++);
    }
  }

  std::unique_ptr<Frame> take_frame() {
    const std::lock_guard lock(mutex_);
    if (frames_.empty()) return std::make_unique<Frame>(code);
    std::unique_ptr<Frame> frame = std::move(frames_.back());
    frames_.pop_back();
    return frame;
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Frame>> frames_;
};

Plan::Plan(Graph graph, const PlanOptions& options)
    : impl_(std::make_unique<Impl>(std::move(graph), options, true)) {}
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;

std::vector<Tensor> Plan::run(const std::vector<Tensor>& inputs, const ValueHook& hook) const {
  return impl_->run(inputs, hook, [](size_t, const auto& step) { step(); });
}

std::vector<Tensor> Plan::run_timed(const std::vector<Tensor>& inputs,
                                    std::vector<double>& seconds) const {
  using Clock = std::chrono::steady_clock;
  PARE_CHECK(seconds.size() == steps().size(), "one time a step is needed");
  return impl_->run(inputs, {}, [&](size_t i, const auto& step) {
    const Clock::time_point start = Clock::now();
    step();
    seconds[i] += std::chrono::duration<double>(Clock::now() - start).count();
  });
}

const Graph& Plan::graph() const { return impl_->code.graph; }

const std::vector<PlanStep>& Plan::steps() const { return impl_->code.infos; }

size_t Plan::activation_bytes() const { return impl_->code.activation_bytes(); }

size_t Plan::activation_bytes_of(Graph graph, const PlanOptions& options) {
  return Impl(std::move(graph), options, false).code.activation_bytes();
}

size_t Plan::weight_bytes() const {
  size_t bytes = 0;
  for (const ConstantBytes& constant : impl_->code.constants) bytes += constant.packed_bytes;
  return bytes;
}

}  // namespace pare
