#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <utility>

namespace standin {

/// std::optional, or c10::optional where LibTorch still had one of its own.
template <typename Value>
using Maybe = decltype(std::declval<c10::IValue>().template toOptional<Value>());

/// The same values, sizes and strides as a tensor of the CPU that lies in the device's memory, for
/// its kernels. Numbers that LibTorch passes as tensors of the host stay; others must be the
/// device's.
at::Tensor seen(const at::Tensor& tensor);

/// A tensor of the device with the values of one of the CPU.
at::Tensor taken(const at::Tensor& seen, const c10::Device& device);

/// Makes `tensor`, of no elements yet, what `seen` is.
void grow(const at::Tensor& tensor, const at::Tensor& seen);

}  // namespace standin
