#pragma once

#include <c10/core/Allocator.h>
#include <cstddef>

namespace standin {

inline constexpr int kMostDevices = 8;

/// How many a process sees: those of $MLU_VISIBLE_DEVICES, else $STANDIN_MLU_DEVICES, else 4.
int device_count();

/// Which one of the machine's a process sees as its device of this number.
int device_of_machine(int index);

/// Of this thread.
int current_device();
void set_current_device(int index);

/// Gives out memory of the current device, filled with ones: NaN, where it is read before it is
/// written. The host cannot read it.
c10::Allocator* allocator();

/// Where the device's own kernels find what lies at `pointer`.
void* inside(const void* pointer);

}  // namespace standin
