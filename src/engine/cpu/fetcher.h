#pragma once

#include <algorithm>
#include <cstddef>

namespace bertrand::cpu {

/// What is needed next is fetched into the second-level cache a few lines a tile, because waiting
/// for it at once would cost as much as computing with it.
template <class T>
class Fetcher {
 public:
  Fetcher() = default;
  /// The first `columns` values of `rows` rows, over the time of `tiles` tiles.
  Fetcher(const T* rows_begin, size_t rows, size_t columns, size_t stride, size_t tiles)
      : row_(rows_begin),
        rows_(rows),
        columns_(columns),
        stride_(stride),
        lines_a_tile_(a_tile(rows * ((columns + kLine - 1) / kLine), tiles)) {}

  void fetch() {
    for (size_t line = 0; line < lines_a_tile_ && rows_ > 0; ++line) {
      __builtin_prefetch(row_ + column_, /*for write=*/0, /*second-level cache=*/2);
      column_ += kLine;
      if (column_ >= columns_) {
        column_ = 0;
        row_ += stride_;
        --rows_;
      }
    }
  }

 private:
  static constexpr size_t kLine = 64 / sizeof(T);

  static size_t a_tile(size_t lines, size_t tiles) {
    const size_t some = std::max(tiles, size_t{1});
    return (lines + some - 1) / some;
  }

  const T* row_ = nullptr;
  size_t rows_ = 0, columns_ = 0, stride_ = 0, lines_a_tile_ = 0, column_ = 0;
};

}  // namespace bertrand::cpu
