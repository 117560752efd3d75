#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

namespace bertrand::plugin {

/// Operations on lists of tensors on one device: by LibTorch's operators for lists where the device
/// has them, else tensor by tensor. LibTorch 2.1 has them for CPU and CUDA alone; elsewhere it
/// would bring each list to the host and back.
class Lists {
 public:
  using List = std::vector<at::Tensor>;

  explicit Lists(const c10::Device& device);

  /// The norm of each, as a list of scalars.
  List norms(const List& list) const;

  void zero(const List& list) const;
  void copy(const List& to, const List& from) const;
  void square_root(const List& list) const;
  void multiply(const List& list, double factor) const;
  void multiply(const List& list, const std::vector<at::Scalar>& factors) const;
  void add(const List& list, double value) const;
  /// list += factor other.
  void add(const List& list, const List& other, double factor) const;
  /// list += factor one other, element by element.
  void add_products(const List& list, const List& one, const List& other, double factor) const;
  /// list += factor over / under, element by element.
  void add_quotients(const List& list, const List& over, const List& under, double factor) const;

 private:
  bool one_by_one_ = false;
};

}  // namespace bertrand::plugin
