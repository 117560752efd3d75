#pragma once

namespace bertrand::measure {

/// Multiplies and adds f32 vectors on registers `steps` times on the calling thread; returns the
/// floating point operations that were. `sum` gets what was computed, so that nothing is left out.
double fma_loop(long steps, float& sum);

}  // namespace bertrand::measure
