#pragma once

#include <functional>
#include <string_view>

#include "squad/dataset.h"
#include "squad/windows.h"

namespace bertrand {

/// Writes a line a window, in order, made on `threads` threads. Columns, with tabs between them:
/// question id; index of the window within the question; tokens T; CRC-32 (8 hexadecimal digits) of
/// the ids and of the segments, each [T] int32; CRC-32 of the word of each document token, [D]
/// int32; CRC-32 of its max-context, [D] bytes; start and end. Integers count as little-endian.
/// `write` is called with whole lines.
void write_window_table(const Dataset& dataset, const WindowSet& windows, unsigned threads,
                        const std::function<void(std::string_view lines)>& write);

}  // namespace bertrand
