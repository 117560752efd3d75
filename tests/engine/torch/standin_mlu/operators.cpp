// The device's kernels: those of the CPU, on the device's memory. A list of operators has them; any
// other is computed in the same way but counted as a fallback, which a real device would compute on
// the host, tensor by tensor there and back.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <string>
#include <torch/library.h>
#include <tuple>
#include <vector>

#include "counters.h"
#include "generator.h"
#include "memory.h"
#include "tensors.h"

namespace standin {
namespace {

using Stack = std::vector<c10::IValue>;

/// One call of an operator: its tensors, and what stands for them in the CPU's kernel.
class Call {
 public:
  Call(const c10::OperatorHandle& handle, Stack& stack) : handle_(handle), stack_(stack) {}

  void run() {
    const auto& arguments = handle_.schema().arguments();
    const size_t first = stack_.size() - arguments.size();
    for (size_t i = 0; i < arguments.size(); ++i) {
      look_at(stack_[first + i], arguments[i]);
    }
    handle_.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack_);
    for (const Pair& grown : grown_) {
      if (grown.seen.numel() > 0) grow(grown.mine, grown.seen);
    }
    const size_t results = handle_.schema().returns().size();
    for (size_t i = stack_.size() - results; i < stack_.size(); ++i) bring(stack_[i]);
  }

 private:
  struct Pair {
    at::Tensor mine, seen;
  };

  at::Tensor look_at(const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.is_cpu()) return seen(tensor);
    device_ = tensor.device();
    pairs_.push_back({tensor, seen(tensor)});
    return pairs_.back().seen;
  }

  void look_at(c10::IValue& value, const c10::Argument& argument) {
    if (value.isTensor()) {
      const at::Tensor tensor = value.toTensor();
      const bool is_written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
      if (is_written && argument.kwarg_only() && tensor.numel() == 0) {
        device_ = tensor.device();
        pairs_.push_back({tensor, at::empty({0}, tensor.options().device(at::kCPU))});
        grown_.push_back(pairs_.back());
        value = pairs_.back().seen;
      } else {
        value = look_at(tensor);
      }
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> list = value.toTensorVector();
      for (at::Tensor& tensor : list) tensor = look_at(tensor);
      value = list;
    } else if (value.isDevice()) {
      value = c10::Device(at::kCPU);
    } else if (value.isNone() && argument.name() == "generator") {
      value = generator(current_device());
    }
  }

  at::Tensor bring(const at::Tensor& result) const {
    for (const Pair& pair : pairs_) {
      if (result.is_same(pair.seen)) return pair.mine;
    }
    return taken(result, device_);
  }

  void bring(c10::IValue& value) const {
    if (value.isTensor()) {
      value = bring(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> list = value.toTensorVector();
      for (at::Tensor& tensor : list) tensor = bring(tensor);
      value = list;
    }
  }

  const c10::OperatorHandle& handle_;
  Stack& stack_;
  c10::Device device_{c10::kPrivateUse1, static_cast<c10::DeviceIndex>(current_device())};
  std::vector<Pair> pairs_, grown_;
};

void kernel(const c10::OperatorHandle& handle, Stack* stack) {
  count_operator();
  Call(handle, *stack).run();
}

void fallback(const c10::OperatorHandle& handle, Stack* stack) {
  const std::string overload = handle.schema().overload_name();
  count_fallback(handle.schema().name() + (overload.empty() ? "" : "." + overload));
  kernel(handle, stack);
}

/// The CPU's draws from the CPU's generator alone.
std::tuple<at::Tensor, at::Tensor> native_dropout(const at::Tensor& input, double probability,
                                                  Maybe<bool>) {
  count_operator();
  const at::Tensor from = seen(input);
  const at::Tensor mask = at::empty_like(from, from.options().dtype(at::kBool));
  mask.bernoulli_(1 - probability, generator(input.device().index()));
  return {taken(from * mask * (1 / (1 - probability)), input.device()),
          taken(mask, input.device())};
}

/// Of those that codegen/mlu_functions.yaml of torch_mlu names, what BERT takes.
constexpr const char* kOperators[] = {
    "_foreach_sqrt_",
    "_foreach_zero_",
    "_log_softmax.out",
    "_log_softmax_backward_data.out",
    "_softmax.out",
    "_softmax_backward_data.out",
    "add.out",
    "addcdiv.out",
    "addcmul.out",
    "addmm.out",
    "arange.start_out",
    "bmm.out",
    "cat.out",
    "embedding",
    "embedding_dense_backward",
    "fill_.Scalar",
    "gather.out",
    "gelu.out",
    "gelu_backward.grad_input",
    "index_add.out",
    "index_select",
    "linalg_vector_norm.out",
    "logical_not.out",
    "lt.Tensor_out",
    "masked_fill_.Scalar",
    "mm.out",
    "mul.out",
    "native_dropout_backward",
    "native_layer_norm",
    "native_layer_norm_backward",
    "norm.out",
    "scatter_add.out",
    "sqrt.out",
    "sum.IntList_out",
    "zero_",
};

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  for (const char* name : kOperators) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&kernel>());
  }
  library.impl("native_dropout", &native_dropout);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

}  // namespace
}  // namespace standin
