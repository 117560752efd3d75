#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace bertrand::cpu {

/// Memory on cache lines. Grows, and then forgets what it held.
template <typename T>
class Aligned {
 public:
  void reserve(size_t count) {
    if (count > count_) {
      take(count, [](size_t bytes) { return std::malloc(bytes); });
    }
  }
  /// New memory of zeros. It comes from the system as such: pages not written to cost nothing.
  void reserve_zeroed(size_t count) {
    take(count, [](size_t bytes) { return std::calloc(bytes, 1); });
  }

  T* data() { return data_; }
  const T* data() const { return data_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  template <typename Allocate>
  void take(size_t count, const Allocate& allocate) {
    constexpr size_t kLine = 64;
    memory_.reset();
    data_ = nullptr;
    count_ = 0;
    size_t space = count * sizeof(T) + kLine;
    memory_.reset(allocate(space));
    if (!memory_) {
      throw std::bad_alloc();
    }
    void* begin = memory_.get();
    data_ = static_cast<T*>(std::align(kLine, count * sizeof(T), begin, space));
    count_ = count;
  }

  std::unique_ptr<void, Free> memory_;
  T* data_ = nullptr;
  size_t count_ = 0;
};

/// Elements from one row to the next. Rows a multiple of 1 KB apart fall into the same few cache
/// sets, which halves the speed of transposed products.
template <typename T>
constexpr size_t padded_stride(size_t columns) {
  constexpr size_t kLine = 64 / sizeof(T);
  constexpr size_t kKilobyte = 1024 / sizeof(T);
  const size_t stride = (columns + kLine - 1) / kLine * kLine;
  return stride % kKilobyte == 0 ? stride + kLine : stride;
}

/// [rows, columns] values, a row a token.
template <typename T>
class Rows {
 public:
  void reserve(size_t rows, size_t columns) {
    stride_ = padded_stride<T>(columns);
    memory_.reserve(rows * stride_);
  }
  T* row(size_t index) { return memory_.data() + index * stride_; }
  const T* row(size_t index) const { return memory_.data() + index * stride_; }
  size_t stride() const { return stride_; }

 private:
  Aligned<T> memory_;
  size_t stride_ = 0;
};

/// Where a row of values goes: as f32, rounded to bf16, or both; null: not.
struct RowTarget {
  float* f32;
  uint16_t* bf16;
};

/// Rows that go into a matrix product: in bf16 mode they are there rounded, beside the f32 values
/// where others than products need those.
struct Operand {
  enum class Form { f32, bf16, both };

  Rows<float> f32;
  Rows<uint16_t> bf16;

  /// Products take an odd number of columns for one more, which is to be a number: 0.
  void reserve(size_t rows, size_t columns, Form form) {
    if (form != Form::bf16) {
      f32.reserve(rows, columns);
    }
    if (form != Form::f32) {
      bf16.reserve(rows, columns);
      for (size_t row = 0; columns % 2 != 0 && row < rows; ++row) {
        bf16.row(row)[columns] = 0;
      }
    }
  }
  RowTarget target(size_t row) { return {f32.row(row), bf16.row(row)}; }
  /// For what nobody but products reads.
  RowTarget product_target(size_t row) {
    return bf16.row(row) == nullptr ? target(row) : RowTarget{nullptr, bf16.row(row)};
  }
};

}  // namespace bertrand::cpu
