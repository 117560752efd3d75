#include "checkpoint/peak_memory.h"

#include <atomic>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {

std::atomic<size_t> held{0};
std::atomic<size_t> most{0};
std::atomic<size_t> all_taken{0};

}  // namespace

// Those of the whole test program; the other forms of new and delete come down to these.
void* operator new(size_t bytes) {
  void* const place = std::malloc(bytes == 0 ? 1 : bytes);
  if (place == nullptr) throw std::bad_alloc();
  all_taken += malloc_usable_size(place);
  const size_t now = held += malloc_usable_size(place);
  for (size_t before = most; before < now && !most.compare_exchange_weak(before, now);) {
  }
  return place;
}

void operator delete(void* place) noexcept {
  if (place != nullptr) held -= malloc_usable_size(place);
  std::free(place);
}

void operator delete(void* place, size_t /*bytes*/) noexcept { operator delete(place); }

namespace bertrand::test {

PeakMemory::PeakMemory() : before_(held), taken_before_(all_taken) { most = before_; }

size_t PeakMemory::bytes() const { return most - before_; }

size_t PeakMemory::taken() const { return all_taken - taken_before_; }

}  // namespace bertrand::test
