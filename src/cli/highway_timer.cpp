// Highway's library (1.0.3) measures how fine its timer is whenever it is loaded, which takes 4 ms,
// although only its own benchmarks ask for that. It calls the function by its public name, so the
// program's own is taken instead of it.
#include <cstdint>

#include <hwy/nanobenchmark.h>

uint64_t hwy::platform::TimerResolution() { return 1; }
