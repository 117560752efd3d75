// Tensors of the device: made, looked at in another shape, and copied between it and the host.
#include "tensors.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "counters.h"
#include "memory.h"

namespace standin {
namespace {

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

c10::Device device_of(const Maybe<c10::Device>& device) {
  const bool named = device.has_value() && device->has_index();
  return {c10::kPrivateUse1,
          named ? device->index() : static_cast<c10::DeviceIndex>(current_device())};
}

at::Tensor empty(at::IntArrayRef sizes, Maybe<at::ScalarType> type, Maybe<at::Layout>,
                 Maybe<c10::Device> device, Maybe<bool>, Maybe<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device_of(device));
  return at::detail::empty_generic(sizes, allocator(), kKeys, type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, Maybe<at::ScalarType> type,
                         Maybe<at::Layout>, Maybe<c10::Device> device, Maybe<bool>) {
  const c10::DeviceGuard guard(device_of(device));
  return at::detail::empty_strided_generic(sizes, strides, allocator(), kKeys,
                                           type.value_or(at::kFloat));
}

/// Between the host and the device, or on it.
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  const auto here = [](const at::Tensor& tensor) {
    return tensor.is_cpu() ? tensor : seen(tensor);
  };
  here(to).copy_(here(from));
  if (from.is_cpu()) {
    count_to_device();
  } else if (to.is_cpu()) {
    count_to_host();
  } else {
    count_operator();
  }
  return to;
}

at::Scalar local_scalar(const at::Tensor& tensor) {
  count_to_host();
  return at::_local_scalar_dense(seen(tensor));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("view", &at::native::view);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("_copy_from", &copy_from);
  library.impl("_local_scalar_dense", &local_scalar);
}

}  // namespace

at::Tensor seen(const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  if (tensor.is_cpu()) {
    TORCH_CHECK(tensor.dim() == 0, "a kernel of the device was given a tensor of the host");
    return tensor;
  }
  return at::from_blob(inside(tensor.data_ptr()), tensor.sizes(), tensor.strides(),
                       tensor.options().device(at::kCPU));
}

at::Tensor taken(const at::Tensor& values, const c10::Device& device) {
  if (!values.defined()) return values;
  at::Tensor tensor =
      at::empty_strided(values.sizes(), values.strides(), values.options().device(device));
  seen(tensor).copy_(values);
  return tensor;
}

void grow(const at::Tensor& tensor, const at::Tensor& values) {
  const c10::DeviceGuard guard(tensor.device());
  const size_t bytes = values.storage().nbytes();
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  storage->set_data_ptr_noswap(allocator()->allocate(bytes));
  storage->set_nbytes(bytes);
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(values.sizes(), values.strides());
  seen(tensor).copy_(values);
}

}  // namespace standin
