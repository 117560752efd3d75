// Kernels that only newer versions of torch_mlu have, and of attention only newer cards: here where
// $STANDIN_MLU_FUSED is 1.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <torch/library.h>
#include <vector>

#include "counters.h"
#include "tensors.h"

namespace standin {
namespace {

using Stack = std::vector<c10::IValue>;

/// The arguments of a call, by their order; the result takes their place.
class Arguments {
 public:
  Arguments(const c10::OperatorHandle& handle, Stack& stack)
      : stack_(stack), first_(stack.size() - handle.schema().arguments().size()) {}

  const c10::IValue& at(size_t index) const { return stack_.at(first_ + index); }
  at::Tensor tensor(size_t index) const { return at(index).toTensor(); }
  std::vector<at::Tensor> list(size_t index) const {
    std::vector<at::Tensor> all;
    for (const at::Tensor& tensor : at(index).toTensorVector()) all.push_back(seen(tensor));
    return all;
  }
  void clear() { stack_.resize(first_); }
  void give(const c10::IValue& result) {
    clear();
    stack_.push_back(result);
  }

 private:
  Stack& stack_;
  size_t first_;
};

/// As torch_mlu tells on an MLU590: 1 is flash attention, 2 one with a mask, 0 none.
int64_t choice_of(const Arguments& call) {
  if (call.tensor(0).element_size() != 2) return 0;
  return call.at(3).isNone() ? 1 : 2;
}

void sdp_choice(const c10::OperatorHandle& handle, Stack* stack) {
  Arguments call(handle, *stack);
  call.give(choice_of(call));
}

/// query, key, value, mask, probability; derivatives are those of its parts.
void attention(const c10::OperatorHandle& handle, Stack* stack) {
  Arguments call(handle, *stack);
  TORCH_CHECK(choice_of(call) > 0, "the device has no kernel for this attention");
  count_fused_attention();
  const at::Tensor query = call.tensor(0);
  const double scale = 1 / std::sqrt(static_cast<double>(query.size(3)));
  at::Tensor scores = at::matmul(query, call.tensor(1).transpose(2, 3)) * scale;
  if (!call.at(3).isNone()) {
    scores =
        scores.masked_fill(call.tensor(3).logical_not(), -std::numeric_limits<float>::infinity());
  }
  at::Tensor probabilities = at::softmax(scores, -1, at::kFloat);
  if (const double drawn = call.at(4).toDouble(); drawn > 0) {
    probabilities = at::dropout(probabilities, drawn, /*train=*/true);
  }
  call.give(at::matmul(probabilities.to(query.scalar_type()), call.tensor(2)));
}

/// parameters, gradients, both moments, maxima, steps, learning rate, both betas, decay, epsilon.
void adamw(const c10::OperatorHandle& handle, Stack* stack) {
  count_operator();
  count_fused_step();
  Arguments call(handle, *stack);
  const auto parameters = call.list(0), gradients = call.list(1), first = call.list(2),
             second = call.list(3), steps = call.list(5);
  const double rate = call.at(6).toDouble(), beta1 = call.at(7).toDouble(),
               beta2 = call.at(8).toDouble(), decay = call.at(9).toDouble(),
               epsilon = call.at(10).toDouble();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto step = steps[i].item<double>();
    parameters[i].mul_(1 - rate * decay);
    first[i].mul_(beta1).add_(gradients[i], 1 - beta1);
    second[i].mul_(beta2).addcmul_(gradients[i], gradients[i], 1 - beta2);
    const at::Tensor divisor =
        (second[i].sqrt() / std::sqrt(1 - std::pow(beta2, step))).add_(epsilon);
    parameters[i].addcdiv_(first[i], divisor, -rate / (1 - std::pow(beta1, step)));
  }
  call.clear();
}

bool are_there() {
  const char* set = std::getenv("STANDIN_MLU_FUSED");
  return set != nullptr && std::string_view(set) == "1";
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  if (!are_there()) return;
  library.impl("_fused_sdp_choice", torch::CppFunction::makeFromBoxedFunction<&sdp_choice>());
  library.impl("scaled_dot_product_attention",
               torch::CppFunction::makeFromBoxedFunction<&attention>());
  library.impl("_fused_adamw_", torch::CppFunction::makeFromBoxedFunction<&adamw>());
}

TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, library) {
  if (!are_there()) return;
  library.impl("scaled_dot_product_attention",
               torch::CppFunction::makeFromBoxedFunction<&attention>());
}

}  // namespace
}  // namespace standin
