#include "engine/torch/lists.h"

#include <ATen/ATen.h>
#include <cstddef>

#include "engine/torch/kernels.h"

namespace bertrand::plugin {
namespace {

/// By a kernel for all devices, which takes a list apart there. Those that bring some kernels for
/// lists of their own do not bring all.
bool has_list_operators(const c10::Device& device) {
  return device.is_cpu() || device.is_cuda() ||
         has_kernel("aten::_foreach_mul_", "Scalar", c10::DispatchKey::CompositeExplicitAutograd);
}

template <typename Work>
void each(const Lists::List& list, const Work& work) {
  for (size_t i = 0; i < list.size(); ++i) {
    work(list[i], i);
  }
}

}  // namespace

Lists::Lists(const c10::Device& device) : one_by_one_(!has_list_operators(device)) {}

Lists::List Lists::norms(const List& list) const {
  if (!one_by_one_) {
    return at::_foreach_norm(list);
  }
  List norms;
  norms.reserve(list.size());
  each(list, [&](const at::Tensor& tensor, size_t) { norms.push_back(tensor.norm()); });
  return norms;
}

void Lists::zero(const List& list) const {
  if (!one_by_one_) {
    return at::_foreach_zero_(list);
  }
  each(list, [](const at::Tensor& tensor, size_t) { tensor.zero_(); });
}

void Lists::copy(const List& to, const List& from) const {
  if (!one_by_one_) {
    return at::_foreach_copy_(to, from);
  }
  each(to, [&](const at::Tensor& tensor, size_t i) { tensor.copy_(from[i]); });
}

void Lists::square_root(const List& list) const {
  if (!one_by_one_) {
    return at::_foreach_sqrt_(list);
  }
  each(list, [](const at::Tensor& tensor, size_t) { tensor.sqrt_(); });
}

void Lists::multiply(const List& list, double factor) const {
  if (!one_by_one_) {
    return at::_foreach_mul_(list, factor);
  }
  each(list, [&](const at::Tensor& tensor, size_t) { tensor.mul_(factor); });
}

void Lists::multiply(const List& list, const std::vector<at::Scalar>& factors) const {
  if (!one_by_one_) {
    return at::_foreach_mul_(list, factors);
  }
  each(list, [&](const at::Tensor& tensor, size_t i) { tensor.mul_(factors[i]); });
}

void Lists::add(const List& list, double value) const {
  if (!one_by_one_) {
    return at::_foreach_add_(list, value);
  }
  each(list, [&](const at::Tensor& tensor, size_t) { tensor.add_(value); });
}

void Lists::add(const List& list, const List& other, double factor) const {
  if (!one_by_one_) {
    return at::_foreach_add_(list, other, factor);
  }
  each(list, [&](const at::Tensor& tensor, size_t i) { tensor.add_(other[i], factor); });
}

void Lists::add_products(const List& list, const List& one, const List& other,
                         double factor) const {
  if (!one_by_one_) {
    return at::_foreach_addcmul_(list, one, other, factor);
  }
  each(list,
       [&](const at::Tensor& tensor, size_t i) { tensor.addcmul_(one[i], other[i], factor); });
}

void Lists::add_quotients(const List& list, const List& over, const List& under,
                          double factor) const {
  if (!one_by_one_) {
    return at::_foreach_addcdiv_(list, over, under, factor);
  }
  each(list,
       [&](const at::Tensor& tensor, size_t i) { tensor.addcdiv_(over[i], under[i], factor); });
}

}  // namespace bertrand::plugin
